# shellcheck shell=bash
# Starting by podman-compose or docker compose, for start.sh: which one, and the file for the GPU that it understands. docs/podman/compose.md
# has the table; the wrong file loses the GPU without a word.

readonly oldest_podman_compose=1.3 oldest_docker_compose_with_devices=2.30

# docker_compose: prints how to call version 2 of it, if it is here.
docker_compose() {
  if docker compose version > /dev/null 2>&1; then
    echo docker compose
  elif docker-compose version --short 2> /dev/null | grep -q '^v\?2'; then
    echo docker-compose
  fi
}

podman_compose_version() {
  podman-compose --version 2> /dev/null | sed -n 's/^podman-compose[a-z]* version *//p' | head -n 1
}

# choose_compose ENGINE ACCESS: sets $compose, the command, and $compose_files. Fails with the fix where there is none.
choose_compose() {
  local engine=$1 access=$2 version docker stem="$here/podman-compose"
  read -ra docker <<< "$(docker_compose)"
  compose_files=(-f "$stem.yml")
  compose=()
  if [ "$engine" = podman ] && command -v podman-compose > /dev/null; then
    version=$(podman_compose_version)
    if version_at_least "$oldest_podman_compose" "${version:-0}"; then
      compose=(podman-compose)
      [ "$access" = none ] || compose_files+=(-f "$stem.gpu.yml")
    elif [ "${#docker[@]}" -eq 0 ]; then
      fail "$exit_engine" "podman-compose ${version:-of an unknown version} is too old: $oldest_podman_compose is needed." \
        "pipx install 'podman-compose>=$oldest_podman_compose'   (or start.sh without --compose)"
    fi
  fi
  if [ "${#compose[@]}" -eq 0 ]; then
    [ "${#docker[@]}" -gt 0 ] || fail "$exit_engine" "Neither podman-compose nor docker compose is installed." \
      "pipx install 'podman-compose>=$oldest_podman_compose'   (or start.sh without --compose)"
    compose=("${docker[@]}")
    if [ "$engine" = podman ]; then
      local socket=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/podman/podman.sock
      "$dry_run" || [ -S "$socket" ] || fail "$exit_engine" "docker compose needs Podman's socket." "systemctl --user enable --now podman.socket"
      compose=(env "DOCKER_HOST=unix://$socket" "${docker[@]}")
    fi
    version=$("${docker[@]}" version --short 2> /dev/null) || version=0
    if [ "$access" = nvidia ]; then
      compose_files+=(-f "$stem.gpu-nvidia.yml")
    elif [ "$access" = cdi ]; then
      if version_at_least "$oldest_docker_compose_with_devices" "${version#v}"; then
        compose_files+=(-f "$stem.gpu.yml")
      else
        compose_files+=(-f "$stem.gpu-cdi.yml")
      fi
    fi
  fi
  [ -z "$keys" ] || compose_files+=(-f "$stem.keys.yml")
  compose+=(-p "$name")
}

# run_compose: starts it by compose, as start.sh was told. podman-compose waits for ever for what cannot start.
run_compose() {
  local settings=("LLAMAPOD_NAME=$name" "LLAMAPOD_BIND=$bind:$port" "LLAMAPOD_GPU=$gpu" "LLAMAPOD_IMAGE=$used_image"
    "LLAMAPOD_START=$(kept_arguments)")
  [ -z "$model" ] || settings+=("LLAMAPOD_MODEL=$model")
  [ -z "$allowed_hosts" ] || settings+=("LLAMAPOD_ALLOWED_HOSTS=$allowed_hosts")
  [ -z "$keys" ] || settings+=("LLAMAPOD_API_KEYS_FILE=$keys")
  # shellcheck disable=SC2154 # start.sh's
  engine_call timeout "$wait" env "${settings[@]}" "${compose[@]}" "${compose_files[@]}" up -d --force-recreate
}

# keys_for_others FILE: Docker and compose hand the file on as it is, and the server has another user's number there.
keys_for_others() {
  [ $((0$(stat --format %a "$1") & 4)) -ne 0 ] ||
    fail "$exit_usage" "$1 can be read by its owner only, and not by the container's user." "It holds hashes and no keys: chmod 644 $1"
}
