#!/usr/bin/env bash
# Takes llamapod off this user's account: containers, pods, units, sockets and networks. Models, settings and images stay, and
# drop-ins but for those that need a unit of ours, such as a pod or a socket.
#
#   uninstall.sh [--delete-data] [--dry-run]
#
# --delete-data removes the volumes with the models, the settings in ~/.config/llamapod, the drop-ins and the secret as well. With LLAMAPOD_NAME only
# what start.sh or compose have made under that name goes, and the units stay.
# Exit codes: 0 done, 1 something could not be removed, 2 wrong arguments.
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

name=${LLAMAPOD_NAME:-llamapod} config=$(config_home) incomplete=0
units=$config/containers/systemd
containers=("$name" "$name-prometheus" "$name-grafana")
networks=("${name}_default")
volumes=("$name-data" "$name-prometheus" "$name-grafana")

# attempt COMMAND...: what fails is told, and the rest is done all the same.
attempt() {
  local problem=''
  if "$dry_run"; then
    run "$@"
  elif ! problem=$("$@" 2>&1); then
    say "not done: $* ($(head -n 1 <<< "$problem"))"
    incomplete=1
  fi
}

# remove ENGINE KIND NAME: if there is one.
remove() {
  ! "$1" "$2" inspect "$3" > /dev/null 2>&1 || attempt "$1" "$2" rm "$3"
}

# names_unit FILE: whether a drop-in needs a unit that goes, such as the pod or the socket.
names_unit() {
  grep -qE '^[^#]*llamapod(@%i)?\.(pod|volume|image|build|socket)' "$1"
}

if [ "$name" = llamapod ]; then
  networks+=(llamapod)
  volumes+=(llamapod-shared-data)
  for settings in "$config"/llamapod/*.env; do
    [ -e "$settings" ] || continue
    instance=$(basename "$settings" .env)
    containers+=("llamapod-$instance")
    volumes+=("llamapod-$instance-data")
  done
  installed=()
  # A socket that stays enabled would take connections for a service that there is no more.
  for file in "$units"/llamapod{,@*}.{container,network,image,pod,volume,build} "$config"/systemd/user/{,sockets.target.wants/}llamapod@*.socket; do
    if [ -e "$file" ] || [ -L "$file" ]; then installed+=("$file"); fi
  done
  # The others are settings: a server that is installed again must not lack its keys or its limits.
  for file in "$units"/llamapod@*.container.d/*.conf "$config"/systemd/user/llamapod@*.socket.d/*.conf; do
    if [ -e "$file" ] && { "$delete_data" || names_unit "$file"; }; then installed+=("$file"); fi
  done
  if [ "${#installed[@]}" -gt 0 ]; then
    # In one go, so that no socket starts again what has just been stopped.
    if command -v systemctl > /dev/null; then attempt systemctl --user stop 'llamapod@*' llamapod-{pod,network,image,volume,build}'.*'; fi
    run rm -rf "${installed[@]}"
    for file in "$units"/llamapod@*.container.d "$config"/systemd/user/llamapod@*.socket.d; do
      if [ -d "$file" ] && [ -z "$(ls -A "$file")" ]; then run rm --dir "$file"; fi
    done
    if command -v systemctl > /dev/null; then attempt systemctl --user daemon-reload; fi
  fi
fi
for engine in podman docker; do
  usable "$engine" 2> /dev/null || continue
  # Of podman kube play, which has the volume as well.
  if [ "$engine" = podman ] && [ "$name" = llamapod ] && podman pod inspect llamapod > /dev/null 2>&1; then attempt podman pod rm --force llamapod; fi
  for container in "${containers[@]}"; do
    ! has_container "$engine" "$container" || attempt "$engine" stop --time 45 "$container"
    ! has_container "$engine" "$container" || attempt "$engine" rm --force "$container"
  done
  for network in "${networks[@]}"; do remove "$engine" network "$network"; done
  if "$delete_data"; then
    for volume in "${volumes[@]}"; do remove "$engine" volume "$volume"; done
    [ "$engine" = docker ] || remove podman secret "$name-keys"
  fi
done
if "$delete_data"; then
  [ "$name" != llamapod ] || run rm -rf "$config/llamapod"
else
  say "Models, settings and drop-ins stay; --delete-data removes them."
fi
exit "$incomplete"
