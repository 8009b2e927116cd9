#!/usr/bin/env bash
# Starts llamapod under Podman: as a container, or with --quadlet as a service of systemd that starts with the machine.
#
#   start-podman.sh [ARGUMENTS OF start.sh]
#   start-podman.sh --quadlet [INSTANCE] [--port PORT] [--gpu auto|off|required]
#
# --quadlet installs the units of deploy/podman/quadlet for this user (Podman 5.0), keeps settings in
# ~/.config/llamapod/INSTANCE.env (INSTANCE is main unless said), and starts llamapod@INSTANCE; one that runs is started anew if
# something has changed. A new instance gets the first port from 8080 that no other has, unless --port says which.
# --gpu gives this instance the GPU, or takes it away; auto gives it where the host describes one and the image for it is here.
# Whether the server computes on it is checked afterwards. --dry-run prints the commands.
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
instance=main gpu='' port=''
case ${1:-} in
  '' | -*) ;;
  *)
    need_instance "$1"
    instance=$1
    shift
    ;;
esac
while [ "$#" -gt 0 ]; do
  case $1 in
    --gpu | --port)
      need "$#" "$1"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    *) unknown "$1" ;;
  esac
  shift
done
case $gpu in '' | auto | off | required) ;; *) fail "$exit_usage" "--gpu is auto, off or required, not $gpu" ;; esac
[ -z "$port" ] || need_number --port "$port"
usable podman || fail "$exit_engine" "Podman cannot be used." "deploy/podman/doctor.sh says what to do."
version=$(podman version --format '{{.Client.Version}}')
"$dry_run" || version_at_least 5.0 "$version" ||
  fail "$exit_engine" "Podman $version is too old for these units, which need 5.0." "Without systemd: start-podman.sh"

config=$(config_home)
units=$config/containers/systemd settings=$config/llamapod/$instance.env unit=llamapod@$instance changed=false

# install_file FROM TO
install_file() {
  cmp --quiet "$1" "$2" && return
  changed=true
  run cp "$1" "$2"
}

# The first port from 8080 that no other instance has.
free_port() {
  local taken port=8080 file
  taken=$(for file in "$config"/llamapod/*.env; do [ ! -e "$file" ] || setting "$file" LLAMAPOD_BIND; done)
  while grep -q ":$port\$" <<< "$taken"; do port=$((port + 1)); done
  echo "$port"
}

# set_port FILE PORT: keeps the address, and the file's owner and mode.
set_port() {
  local bind
  bind=$(setting "$1" LLAMAPOD_BIND)
  [ "${bind##*:}" = "$2" ] && return
  changed=true
  bind=${bind%:*}
  run sed -i "/^LLAMAPOD_BIND=/d; \$aLLAMAPOD_BIND=${bind:-127.0.0.1}:$2" "$1"
}

# has_gpu_image: ours, or one that units name.
has_gpu_image() {
  podman image exists localhost/llamapod:cuda || grep -rqs --exclude=10-gpu.conf '^Image=' "$units/llamapod@.container.d" "${gpu_drop_in%/*}"
}

gpu_drop_in=$units/$unit.container.d/10-gpu.conf
if [ "$gpu" = auto ]; then
  gpu=off
  if [ "$(gpu_access podman auto)" = cdi ] && has_gpu_image; then gpu=required; fi
  say "The GPU: $gpu"
fi
if [ "$gpu" = required ] && ! "$dry_run" && ! has_gpu_image; then
  fail "$exit_engine" "The image for the GPU is not here." "deploy/podman/image.sh build --target cuda"
fi
run mkdir -p "$units" "$config/llamapod"
install_file "$here/quadlet/llamapod@.container" "$units/llamapod@.container"
install_file "$here/quadlet/llamapod.network" "$units/llamapod.network"
if [ ! -e "$settings" ]; then
  port=${port:-$(free_port)}
  install_file "$here/quadlet/examples/main.env" "$settings"
fi
if [ -n "$port" ]; then
  if "$dry_run"; then echo "LLAMAPOD_BIND=127.0.0.1:$port > $settings"; else set_port "$settings" "$port"; fi
fi
case $gpu in
  required)
    run mkdir -p "${gpu_drop_in%/*}"
    install_file "$here/quadlet/examples/llamapod@.container.d/10-gpu.conf" "$gpu_drop_in"
    ;;
  off)
    for file in "$gpu_drop_in" "$units/llamapod@.container.d/10-gpu.conf"; do
      [ -e "$file" ] || continue
      changed=true
      run rm "$file"
    done
    ;;
esac
[ -L "$units/$unit.container" ] || run ln -sf llamapod@.container "$units/$unit.container"
run systemctl --user daemon-reload
# It starts one that does not run too, and `start` would join an attempt that is under way with the old settings.
action=start
! "$changed" || action=restart
# What failed before counts no more.
"$dry_run" || systemctl --user reset-failed "$unit" 2> /dev/null || true
if ! run systemctl --user "$action" "$unit"; then
  explain_unit "$unit"
  fail "$exit_unhealthy" "$unit did not start." "journalctl --user -u $unit"
fi
user=$(id -un)
"$dry_run" || {
  url=$(url_of_bind "$(setting "$settings" LLAMAPOD_BIND)")
  say "llamapod answers at $url/ ($unit)"
  if systemctl --user cat "$unit" 2> /dev/null | grep -qF "$gpu_device" && answer=$(http_get "$url/health/ready"); then
    image=$(podman container inspect --format '{{.ImageName}}' "llamapod-$instance" 2> /dev/null) || image=''
    tell_gpu podman "llamapod-$instance" "$(json_field backend <<< "$answer")" "${image:-$unit}"
  fi
  [ "$(loginctl show-user "$user" -p Linger --value 2> /dev/null)" = yes ] ||
    say "It stops when you log out, until an administrator allows it to stay: sudo loginctl enable-linger $user"
}
