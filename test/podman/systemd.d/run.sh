#!/usr/bin/env bash
# Inside the booted system, as root: plays the scenarios of the folder $BOOT whose names contain one of the words in $ONLY.
set -uo pipefail
cd "$(dirname "$0")" || exit

# pasta wants an interface to copy, and Quadlet units wait for the network.
ip link add v0 type veth peer name v1
ip address add 198.51.100.2/24 dev v0
ip link set v0 up
ip link set v1 up
ip route add default via 198.51.100.1
systemctl start network-online.target

wanted() {
  [ -n "$ONLY" ] || return 0
  for word in $ONLY; do [[ $1 != *"$word"* ]] || return 0; done
  return 1
}

failed=false
for scenario in "$BOOT"/*.sh; do
  wanted "$scenario" || continue
  since=$SECONDS name=$(basename "$scenario" .sh)
  if BASH_ENV=/ci/systemd.d/inside.sh timeout "$PATIENCE_SECONDS" bash -euo pipefail "$scenario" > "/ci/$name.log" 2>&1; then
    echo "ok   $BOOT/$name ($((SECONDS - since)) s)"
    grep '^seen: ' "/ci/$name.log" | sed 's/^/     /'
  else
    failed=true
    echo "fail $BOOT/$name ($((SECONDS - since)) s)"
    { cat "/ci/$name.log" && journalctl --quiet --no-pager --output short --lines 80; } | sed 's/^/     /'
    # Those that follow would find what it left, and wait for it.
    break
  fi
done
! "$failed"
