#!/usr/bin/env bash
# Starts llamapod in a container, waits until it answers, and says where.
#
#   start.sh [--engine auto|podman|docker] [--compose] [--gpu auto|off|required] [--port PORT] [--model NAME] [--image IMAGE]
#            [--bind ADDRESS] [--allowed-hosts NAMES]
#
# --engine auto (the default) takes Podman, and Docker where Podman cannot be used. --gpu auto takes a GPU where the host
# describes one for containers, starts without it if the engine cannot hand it on, and checks afterwards that the server uses it.
# The container listens on this machine only, unless --bind says on which address of it, such as 0.0.0.0 for all of them: then others
# can come in by the names of --allowed-hosts, and it takes a file of keys. --compose starts it by podman-compose or docker compose, with the file for the GPU
# that this one understands. --wait SECONDS is how long the model may take to load (default: 600). --dry-run prints the
# commands instead.
# LLAMAPOD_API_KEYS_FILE names a file of API keys (`llamapod key`), which is handed to the container. LLAMAPOD_NAME names the
# container (default: llamapod). What has no flag is taken from LLAMAPOD_GPU, LLAMAPOD_MODEL, LLAMAPOD_IMAGE, LLAMAPOD_ALLOWED_HOSTS
# and LLAMAPOD_BIND (ADDRESS:PORT), as by the files for compose.
# Exit codes: 0 it answers, 2 wrong arguments, 3 no usable engine, 4 it does not answer, otherwise the engine's own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/podman/lib.sh
. "$here/lib.sh"
# shellcheck source=deploy/podman/lib/compose.sh
. "$here/lib/compose.sh"

engine=auto wait=600 by_compose=false name=${LLAMAPOD_NAME:-llamapod}
gpu=${LLAMAPOD_GPU:-auto} model=${LLAMAPOD_MODEL:-} image=${LLAMAPOD_IMAGE:-} allowed_hosts=${LLAMAPOD_ALLOWED_HOSTS:-}
bind=${LLAMAPOD_BIND:-127.0.0.1:8080}
[[ $bind =~ ^.+:[0-9]+$ ]] || fail "$exit_usage" "LLAMAPOD_BIND is ADDRESS:PORT, not $bind"
port=${bind##*:} bind=${bind%:*}
while [ "$#" -gt 0 ]; do
  case $1 in
    --engine | --gpu | --port | --model | --image | --bind | --allowed-hosts | --wait)
      need "$#" "$1"
      flag=${1#--}
      printf -v "${flag//-/_}" %s "$2"
      shift
      ;;
    --compose) by_compose=true ;;
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
need_number --port "$port"
need_number --wait "$wait"
[[ $bind =~ ^([0-9.]+|\[[0-9a-fA-F:.]+\])$ ]] || fail "$exit_usage" "--bind is an address, such as 127.0.0.1 or [::1], not $bind"
[[ $allowed_hosts =~ ^[]A-Za-z0-9.,:_[-]*$ ]] || fail "$exit_usage" "--allowed-hosts is names with commas between them, not $allowed_hosts"
[ -z "$model" ] || need_model "$model"
[[ $image =~ ^[A-Za-z0-9._:/@-]*$ ]] || fail "$exit_usage" "--image is the name of an image, not $image"
keys=${LLAMAPOD_API_KEYS_FILE:-}
if [ -n "$keys" ]; then
  [ -r "$keys" ] || fail "$exit_usage" "LLAMAPOD_API_KEYS_FILE: $keys cannot be read" "llamapod key NAME >> $keys makes a key"
  keys=$(realpath "$keys")
fi
# is_for_others: whether other machines can reach it.
is_for_others() { case $bind in 127.* | '[::1]') false ;; *) true ;; esac }
if is_for_others && [ -z "$keys" ]; then
  fail "$exit_usage" "Whoever reaches $bind could use the server: --bind $bind needs LLAMAPOD_API_KEYS_FILE." "llamapod key NAME >> FILE makes a key"
fi
wanted=$engine
engine=$(choose_engine "$wanted")

# choose_image: sets $access, how the container gets the GPU, and $used_image.
choose_image() {
  access=$(gpu_access "$engine" "$gpu")
  used_image=$image
  [ -z "$image" ] || return 0
  used_image=localhost/llamapod:cpu
  if [ "$access" != none ] && "$engine" image inspect localhost/llamapod:cuda > /dev/null 2>&1; then used_image=localhost/llamapod:cuda; fi
}

# have_image: it is here, or comes from its registry. Before a server that runs is stopped.
have_image() {
  if "$dry_run" || "$engine" image inspect "$used_image" > /dev/null 2>&1; then return; fi
  local code=0
  engine_call "$engine" pull "$used_image" || code=$?
  [ "$code" -eq 0 ] || problem=image
  return "$code"
}

# kept_arguments: for complete-restart.sh, on the container as a label.
kept_arguments() {
  local kept="--engine $engine --gpu $gpu --port $port"
  [ -z "$model" ] || kept+=" --model $model"
  [ -z "$image" ] || kept+=" --image $image"
  [ "$bind" = 127.0.0.1 ] || kept+=" --bind $bind"
  [ -z "$allowed_hosts" ] || kept+=" --allowed-hosts $allowed_hosts"
  ! "$by_compose" || kept="--compose $kept"
  echo "$kept"
}

# key_arguments: hands the file of keys on, as $key_args.
key_arguments() {
  key_args=()
  [ -n "$keys" ] || return 0
  if [ "$engine" = podman ]; then
    # A secret is copied when the container is made, so that a changed file needs a new container: complete-restart.sh.
    "$dry_run" || podman secret rm "$name-keys" > /dev/null 2>&1 || true
    run_quietly podman secret create "$name-keys" "$keys" || return
    key_args=(--secret "$name-keys,type=mount,target=/etc/llamapod/api-keys,uid=10001,gid=10001,mode=0400")
  else
    key_args=(--volume "$keys:/etc/llamapod/api-keys:ro")
  fi
  key_args+=(--env LLAMAPOD_API_KEYS_FILE=/etc/llamapod/api-keys --env LLAMAPOD_ALLOW_UNAUTHENTICATED=false
    --label "llamapod.api-keys-file=$keys")
}

# run_container: by the engine itself.
run_container() {
  local args=(run --detach --name "$name" --publish "$bind:$port:8080" --volume "$name-data:/var/lib/llamapod"
    --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs "/tmp:rw,noexec,nosuid,nodev,size=256m"
    --stop-timeout 45 --env "LLAMAPOD_GPU=$gpu" --label "llamapod.start=$(kept_arguments)")
  # Else Podman adds a /var/tmp from which programs can be run.
  if [ "$engine" = podman ]; then args+=(--userns "keep-id:uid=10001,gid=10001" --read-only-tmpfs=false); fi
  if [ "$engine" = docker ] || podman_limits_processes; then args+=(--pids-limit 512); fi
  [ -z "$model" ] || args+=(--env "LLAMAPOD_MODEL=$model")
  [ -z "$allowed_hosts" ] || args+=(--env "LLAMAPOD_ALLOWED_HOSTS=$allowed_hosts")
  case $access in
    cdi) args+=(--device "$gpu_device") ;;
    nvidia) args+=(--gpus all) ;;
  esac
  key_arguments || return
  engine_call "$engine" "${args[@]}" "${key_args[@]}" "$used_image"
}

# begin: replaces what has the name, whichever engine runs it, and starts the new one. With --gpu auto without the GPU, if need be.
begin() {
  local start=run_container code=0 other
  ! "$by_compose" || start=run_compose
  choose_image
  ! "$by_compose" || choose_compose "$engine" "$access"
  if [ -n "$keys" ] && { "$by_compose" || [ "$engine" = docker ]; }; then keys_for_others "$keys"; fi
  have_image || return
  for other in podman docker; do
    # Compose replaces its own, and gives the network back.
    "$by_compose" && [ "$other" = "$engine" ] && [ -n "$(label_of "$other" "$name" com.docker.compose.project)" ] && continue
    remove_container "$other" "$name" || return
  done
  "$start" || code=$?
  if [ "$code" -ne 0 ] && [ "$gpu" = auto ] && [ "$access" != none ] && [[ $problem = gpu || $problem = stale-gpu ]]; then
    say "Starting without the GPU, on the CPU. --gpu required would not."
    code=0 problem='' access=none
    ! "$by_compose" || choose_compose "$engine" none
    "$engine" rm --force "$name" > /dev/null 2>&1 || true
    "$start" || code=$?
  fi
  return "$code"
}

code=0
begin || code=$?
if [ "$code" -ne 0 ] && [ "$wanted" = auto ] && [ "$engine" = podman ]; then
  case $code:$problem in
    # Docker would fail in the same way.
    *:image | *:port | *:secret) ;;
    125:* | 126:* | 127:*)
      if usable docker; then
        say "Podman cannot start it. Falling back to Docker, whose service runs as root. deploy/podman/doctor.sh says what Podman lacks."
        podman rm --force "$name" > /dev/null 2>&1 || true
        engine=docker code=0 problem=''
        begin || code=$?
      fi
      ;;
  esac
fi
[ "$code" -eq 0 ] || exit "$code"
"$dry_run" && {
  "$by_compose" || run "$engine" update --restart unless-stopped "$name"
  exit
}

url=$(url_of_bind "$bind:$port") outcome=0
answer=$(wait_ready "$url" "$wait" "$engine" "$name") || outcome=$?
if [ "$outcome" -ne 0 ]; then
  "$engine" logs --tail 5 "$name" 2>&1 | sed 's/^/  /' >&2 || true
  if [ "$outcome" -eq 2 ]; then
    # Compose would start it again and again.
    "$engine" stop --time 45 "$name" > /dev/null 2>&1 || true
    explain_end "$("$engine" container inspect --format '{{.State.ExitCode}}' "$name" 2> /dev/null || echo unknown)"
    fail "$exit_unhealthy" "$name ended under $engine, and did not answer." "Its log: $engine logs $name"
  fi
  fail "$exit_unhealthy" "$name runs under $engine, but does not answer." "See: deploy/podman/status.sh, docs/podman/troubleshooting.md"
fi
# Only now: what cannot start must not try for ever.
"$by_compose" || "$engine" update --restart unless-stopped "$name" > /dev/null 2>&1 ||
  say "It is not started again after a crash: that takes Podman 5.1, or a service of systemd (start-podman.sh --quadlet)."
backend=$(json_field backend <<< "$answer")
say "llamapod answers at $url/ ($engine, $backend)"
if is_for_others && [ -z "$allowed_hosts" ]; then say "Other machines are refused until --allowed-hosts names what they call this one."; fi
[ "$access" = none ] || tell_gpu "$engine" "$name" "$backend" "$used_image"
