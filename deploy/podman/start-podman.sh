#!/usr/bin/env bash
# Starts llamapod under Podman: as a container, or with --quadlet as a service of systemd that starts with the machine.
#
#   start-podman.sh [ARGUMENTS OF start.sh]
#   start-podman.sh --quadlet [INSTANCE] [--gpu off|required]
#
# --quadlet installs the units of deploy/podman/quadlet for this user (Podman 5.0), keeps settings in
# ~/.config/llamapod/INSTANCE.env (INSTANCE is main unless said), and starts llamapod@INSTANCE. --dry-run prints the commands.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

case ${1:-} in
  -h | --help)
    usage "$0"
    exit
    ;;
  --quadlet) shift ;;
  *) exec "$here/start.sh" --engine podman "$@" ;;
esac
instance=main gpu=off
if [[ ${1:-} =~ ^[a-z0-9-]+$ && ${1:-} != --* ]]; then
  instance=$1
  shift
fi
while [ "$#" -gt 0 ]; do
  case $1 in
    --gpu)
      need "$#" "$1"
      gpu=$2
      shift
      ;;
    --dry-run) dry_run=true ;;
    *) unknown "$1" ;;
  esac
  shift
done
case $gpu in off | required) ;; *) fail "$exit_usage" "--gpu is off or required here, not $gpu" ;; esac
usable_podman || fail "$exit_engine" "Podman cannot be used." "deploy/podman/doctor.sh says what to do."
major=$(podman version --format '{{.Client.Version}}' | cut -d. -f1)
"$dry_run" || [ "$major" -ge 5 ] || fail "$exit_engine" "Podman $major is too old for these units, which need 5.0." "Without systemd: start-podman.sh"

config=${XDG_CONFIG_HOME:-$HOME/.config}
units=$config/containers/systemd
run mkdir -p "$units" "$config/llamapod"
run cp "$here/quadlet/llamapod@.container" "$here/quadlet/llamapod.network" "$units/"
[ -e "$config/llamapod/$instance.env" ] || run cp "$here/quadlet/examples/main.env" "$config/llamapod/$instance.env"
if [ "$gpu" = required ]; then
  run mkdir -p "$units/llamapod@.container.d"
  run cp "$here/quadlet/examples/llamapod@.container.d/10-gpu.conf" "$units/llamapod@.container.d/"
fi
[ "$instance" = main ] || run ln -sf llamapod@.container "$units/llamapod@$instance.container"
run systemctl --user daemon-reload
run systemctl --user start "llamapod@$instance" || fail "$exit_unhealthy" "llamapod@$instance did not start." "journalctl --user -u llamapod@$instance"
"$dry_run" || [ "$(loginctl show-user "$USER" -p Linger --value 2> /dev/null)" = yes ] ||
  say "It stops when you log out, until an administrator allows it to stay: sudo loginctl enable-linger $USER"
