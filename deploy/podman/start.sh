#!/usr/bin/env bash
# Starts llamapod in a container, waits until it answers, and says where.
#
#   start.sh [--engine auto|podman|docker] [--gpu auto|off|required] [--port PORT] [--model NAME] [--image IMAGE]
#
# --engine auto (the default) takes Podman, and Docker where Podman cannot be used. --gpu auto takes a GPU where the host
# describes one for containers (/etc/cdi) and checks afterwards that the server uses it. The container listens on this machine
# only. --wait SECONDS is how long the model may take to load (default: 600). --dry-run prints the command instead.
# LLAMAPOD_API_KEYS_FILE names a file of API keys, which becomes a secret of the container (Podman only).
# Exit codes: 0 it answers, 2 wrong arguments, 3 no usable engine, 4 it runs but does not answer, otherwise the engine's own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"

engine=auto gpu=auto port=8080 model='' image='' wait=600 name=${LLAMAPOD_NAME:-llamapod}
while [ "$#" -gt 0 ]; do
  case $1 in
    --engine | --gpu | --port | --model | --image | --wait)
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
case $gpu in auto | off | required) ;; *) fail "$exit_usage" "--gpu is auto, off or required, not $gpu" ;; esac
[[ $port =~ ^[0-9]+$ ]] || fail "$exit_usage" "--port is a number, not $port"

engine=$(choose_engine "$engine")
has_gpu=false
if [ "$gpu" != off ] && grep -rqs 'nvidia.com/gpu' /etc/cdi /var/run/cdi; then has_gpu=true; fi
if [ "$gpu" = required ]; then has_gpu=true; fi
if [ -z "$image" ]; then
  image=localhost/llamapod:cpu
  # shellcheck disable=SC2310 # without the image of the GPU the other one it is
  if "$has_gpu" && "$engine" image inspect localhost/llamapod:cuda > /dev/null 2>&1; then image=localhost/llamapod:cuda; fi
fi

args=(run --detach --name "$name" --publish "127.0.0.1:$port:8080" --volume "$name-data:/var/lib/llamapod"
  --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs "/tmp:rw,noexec,nosuid,nodev,size=256m"
  --stop-timeout 45 --env "LLAMAPOD_GPU=$gpu")
[ "$engine" = podman ] && args+=(--userns "keep-id:uid=10001,gid=10001")
[ -n "$model" ] && args+=(--env "LLAMAPOD_MODEL=$model")
"$has_gpu" && args+=(--device nvidia.com/gpu=all)
if [ -n "${LLAMAPOD_API_KEYS_FILE:-}" ]; then
  [ "$engine" = podman ] || fail "$exit_usage" "API keys as a secret need Podman" "With Docker: docs/podman/compose.md"
  # A secret is copied when the container is made, so that a changed file needs a new container: complete-restart.sh.
  "$dry_run" || podman secret rm "$name-keys" > /dev/null 2>&1 || true
  run podman secret create "$name-keys" "$LLAMAPOD_API_KEYS_FILE" > /dev/null
  args+=(--secret "$name-keys,type=mount,target=/etc/llamapod/api-keys,uid=10001,gid=10001,mode=0400"
    --env LLAMAPOD_API_KEYS_FILE=/etc/llamapod/api-keys --env LLAMAPOD_ALLOW_UNAUTHENTICATED=false)
fi

if ! "$dry_run" && "$engine" container inspect "$name" > /dev/null 2>&1; then
  # Its data is on the volume.
  "$engine" rm --force "$name" > /dev/null
fi
engine_call "$engine" "${args[@]}" "$image" || exit
"$dry_run" && exit

url=http://127.0.0.1:$port
if ! answer=$(wait_ready "$url" "$wait"); then
  "$engine" logs "$name" 2>&1 | tail -n 5 >&2
  fail "$exit_unhealthy" "$name runs under $engine, but does not answer." "See: deploy/podman/status.sh, docs/podman/troubleshooting.md"
fi
backend=$(json_field backend <<< "$answer")
say "llamapod answers at $url/ ($engine, $backend)"
if "$has_gpu" && [ "$backend" = cpu ]; then
  say "The GPU is not used: the container sees $("$engine" exec "$name" sh -c 'ls /dev/nvidia0 2>/dev/null || echo no /dev/nvidia0'), and runs $image."
  say "  Build the image for it (deploy/podman/image.sh build --target cuda), and see docs/podman/gpu.md."
fi
