#!/usr/bin/env bash
# Adds a drop-in of deploy/podman/quadlet/examples to a Quadlet instance, with the units that belong to it.
#
#   drop-in.sh NAME [INSTANCE] [--image REGISTRY/NAME:TAG] [--remove]
#
# NAME is gpu, keys, shared-models, memory, registry, build, pod or socket; INSTANCE is main unless said. --image is the image that
# `registry` fetches. --remove takes the drop-in away again; without its pod or
# socket the server stops. --dry-run prints the commands. Nothing else that runs is touched:
# complete-restart.sh --instance INSTANCE does that.
# `pod` is for the instance main, whose port the pod has; `socket` as well, unless another instance's socket has ports of its own
# (docs/podman/quadlet.md). `build` takes Podman 5.2.
# Exit codes: 0 done, 2 wrong arguments, 3 a Podman that is too old.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

name='' instance=main image='' remove=false
while [ "$#" -gt 0 ]; do
  case $1 in
    --image)
      need "$#" "$1"
      image=$2
      shift
      ;;
    --remove) remove=true ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage "$0"
      exit
      ;;
    -*) unknown "$1" ;;
    *) if [ -z "$name" ]; then name=$1; else instance=$1; fi ;;
  esac
  shift
done
from=("$here/quadlet/examples/llamapod@.container.d"/[0-9][0-9]-"$name".conf)
[[ $name =~ ^[a-z-]+$ && -e ${from[0]} ]] || fail "$exit_usage" "there is no drop-in '$name'" "${0##*/} --help lists them"
[[ $instance =~ ^[a-z0-9][a-z0-9-]*$ ]] || fail "$exit_usage" "an instance has a name like main or chat-2, not $instance"
[ "$name" != registry ] || "$remove" || [ -n "$image" ] || fail "$exit_usage" "registry needs --image REGISTRY/NAME:TAG"

config=$(config_home)
units=$config/containers/systemd
to=$units/llamapod@$instance.container.d/$(basename "${from[0]}")
if ! "$remove" && [ "$instance" != main ]; then
  case $name in
    pod) fail "$exit_usage" "llamapod.pod is one pod, with the port of main: $instance cannot be in it as well" ;;
    socket)
      [ -n "$(ls -A "$config/systemd/user/llamapod@$instance.socket.d" 2> /dev/null)" ] ||
        fail "$exit_usage" "llamapod@.socket has the ports of main, and not of $instance" \
          "others go into $config/systemd/user/llamapod@$instance.socket.d/ports.conf first: docs/podman/quadlet.md"
      ;;
  esac
fi
if [ "$name" = build ] && ! "$remove" && ! "$dry_run"; then
  version=$(podman version --format '{{.Client.Version}}' 2> /dev/null) || version=0
  version_at_least 5.2 "$version" || fail "$exit_engine" "Podman $version has no units that build, which came with 5.2." "deploy/podman/image.sh build"
fi
# The units that the drop-in names, such as llamapod.pod; a socket is none of Quadlet's.
mapfile -t others < <(grep -v '^#' "${from[0]}" | grep -oE 'llamapod\.(pod|volume|image|build)' | sort -u || true)

if "$remove"; then
  run rm -f "$to"
  [ "$name" != pod ] || run systemctl --user stop llamapod-pod
  [ "$name" != socket ] || run systemctl --user disable --now "llamapod@$instance.socket"
else
  run mkdir -p "${to%/*}"
  run cp "${from[0]}" "$to"
  for other in "${others[@]}"; do run cp "$here/quadlet/$other" "$units/"; done
  if [ "$name" = registry ]; then
    run sed -i "s|^Image=.*|Image=$image|" "$units/llamapod.image"
    for other in "$units"/llamapod@*.container.d/"${to##*/}"; do
      [ ! -e "$other" ] || [ "$other" = "$to" ] || say "llamapod.image is one for all of them: $(basename "${other%/*}" .container.d) gets $image too."
    done
  fi
  # An instance has drop-ins of its own only where it has a file of its own.
  [ -e "$units/llamapod@$instance.container" ] || run ln -s llamapod@.container "$units/llamapod@$instance.container"
  if [ "$name" = socket ]; then
    run mkdir -p "$config/systemd/user"
    run cp "$here/quadlet/examples/llamapod@.socket" "$config/systemd/user/"
  fi
fi
run systemctl --user daemon-reload
[ "$name" != socket ] || "$remove" || run systemctl --user enable "llamapod@$instance.socket"
say "Then: deploy/podman/complete-restart.sh --instance $instance"
