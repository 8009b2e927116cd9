#!/usr/bin/env bash
# Takes llamapod off this user's account: container, units and network. Models, settings and images stay.
#
#   uninstall.sh [--delete-data] [--dry-run]
#
# --delete-data removes the volumes with the models, the settings in ~/.config/llamapod and the secret as well.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

delete_data=false
while [ "$#" -gt 0 ]; do
  case $1 in
    --delete-data) delete_data=true ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    *) unknown "$1" ;;
  esac
  shift
done

name=${LLAMAPOD_NAME:-llamapod} config=${XDG_CONFIG_HOME:-$HOME/.config}
units=$config/containers/systemd
if command -v systemctl > /dev/null && [ -e "$units/llamapod@.container" ]; then
  run systemctl --user stop 'llamapod@*' || true
  run rm -rf "$units/llamapod@.container" "$units/llamapod.network" "$units/llamapod@.container.d"
  run systemctl --user daemon-reload || true
fi
for engine in podman docker; do
  "usable_$engine" 2> /dev/null || continue
  ! "$engine" container inspect "$name" > /dev/null 2>&1 || run "$engine" rm --force "$name"
  ! "$engine" network inspect llamapod > /dev/null 2>&1 || run "$engine" network rm llamapod
  if "$delete_data"; then
    while read -r volume; do run "$engine" volume rm "$volume"; done \
      < <("$engine" volume ls --quiet | grep -E "^$name(-[a-z0-9-]+)?-data\$")
    ! "$engine" secret inspect "$name-keys" > /dev/null 2>&1 || run "$engine" secret rm "$name-keys"
  fi
done
! "$delete_data" || run rm -rf "$config/llamapod"
"$delete_data" || say "Models and settings stay; --delete-data removes them."
