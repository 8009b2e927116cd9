# shellcheck shell=bash
# Podman and Docker: which one, and what their failures mean. Sourced by lib.sh.

# usable ENGINE: says why not, and returns 1.
usable() {
  command -v "$1" > /dev/null || {
    say "$1 is not installed"
    return 1
  }
  local problem
  problem=$("$1" info 2>&1 > /dev/null) || {
    say "$1 does not work: $(grep -v '^time=' <<< "$problem" | head -n 1)"
    return 1
  }
}

# choose_engine auto|podman|docker: prints the engine to use. Podman comes first; that Docker steps in is told.
choose_engine() {
  case $1 in
    podman)
      usable podman || fail "$exit_engine" "Podman cannot be used." "deploy/podman/doctor.sh says what to do."
      echo podman
      ;;
    docker)
      usable docker || fail "$exit_engine" "Docker cannot be used." "Is its service running, and may this user use it?"
      echo docker
      ;;
    auto)
      if usable podman; then
        echo podman
      elif usable docker; then
        say "Falling back to Docker, whose service runs as root. deploy/podman/doctor.sh says what Podman lacks."
        echo docker
      else
        fail "$exit_engine" "Neither Podman nor Docker can be used." "Install Podman: sudo apt-get install podman uidmap"
      fi
      ;;
    *) fail "$exit_usage" "--engine is auto, podman or docker, not $1" ;;
  esac
}

# Whether Podman may limit the number of processes: only where systemd has delegated it to this user.
podman_limits_processes() {
  podman info --format '{{.Host.CgroupControllers}}' 2> /dev/null | grep -qw pids
}

# problem_of MESSAGE: what the engine's message is about, in one word. $access is how the container was to get the GPU.
problem_of() {
  if grep -q 'unresolvable CDI devices\|CDI device injection failed\|could not select device driver\|nvidia-container-cli' <<< "$1"; then
    echo gpu
  elif grep -qi 'image not known\|initializing source\|unable to.*pull\|unable to find image\|manifest unknown\|pull access denied' <<< "$1"; then
    echo image
  elif grep -q 'no secret with name' <<< "$1"; then
    echo secret
  elif grep -qi 'address already in use\|port is already allocated' <<< "$1"; then
    echo port
  elif grep -q 'already in use' <<< "$1"; then
    echo name
  elif [ "${access:-none}" = cdi ] && [ -n "$(missing_cdi_path)" ]; then
    # What the engine says here depends on its runtime, and may not name the file.
    echo stale-gpu
  elif grep -qi 'permission denied' <<< "$1"; then
    echo permission
  else
    echo other
  fi
}

# for_engine: what image.sh has to be told, which builds with Podman unless said.
for_engine() { [ "${engine:-podman}" = podman ] || echo " --engine $engine"; }

# explain CODE PROBLEM: what a failure of the engine means, in words that say what to do.
explain() {
  case $2 in
    gpu)
      say "The engine knows no device $gpu_device. Make its specification, as an administrator:"
      say "  sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml && sudo chmod 644 /etc/cdi/nvidia.yaml"
      ;;
    stale-gpu)
      say "The device specification in /etc/cdi names $(missing_cdi_path), which is gone, as after a driver update. Make it anew:"
      say "  sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml   (or: sudo systemctl restart nvidia-cdi-refresh)"
      ;;
    image) say "The image is not here and cannot be fetched. Build it: deploy/podman/image.sh build$(for_engine)" ;;
    secret) say "A secret is missing. Make it: podman secret create llamapod-keys FILE" ;;
    port) say "The port is taken: choose another with --port, or find who has it: ss -ltnp" ;;
    name) say "A container of that name exists: deploy/podman/complete-restart.sh replaces it." ;;
    permission) say "The system refused something to this user: ports below 1024, or a folder or device it may not open." ;;
    *)
      case $1 in
        124) say "The engine took too long, and was stopped." ;;
        125) say "The engine refused the request (exit code 125): see its message above." ;;
        126 | 127) say "The container could not be started (exit code $1): see the engine's message above." ;;
        *) say "The engine ended with exit code $1: see its message above." ;;
      esac
      ;;
  esac
}

# explain_end CODE: how the server in a container has ended.
explain_end() {
  case $1 in
    0) say "The server has ended, and not with an error." ;;
    2) say "The server was given a setting that it cannot use (exit code 2): its log says which." ;;
    3) say "The server could not start as it was told to, on a GPU or with its first model (exit code 3): its log says why. See docs/podman/gpu.md." ;;
    126 | 127) say "The image's program could not be started (exit code $1): is it an image of llamapod?" ;;
    137) say "The container was killed (exit code 137): out of memory, failed health checks, or too slow to stop. See: deploy/podman/status.sh" ;;
    143) say "The container was told to stop (exit code 143)." ;;
    *) say "The server ended with exit code $1." ;;
  esac
}

# engine_call COMMAND...: carried out; a failure is explained, and $problem is what it was about. The container's monitor keeps
# what it is given as standard error open for as long as it lives, so that has to be a file: whoever reads our own output would
# wait with it.
problem=''
engine_call() {
  if "$dry_run"; then
    run "$@"
    return
  fi
  local log code=0
  log=$(mktemp)
  "$@" 2> "$log" > /dev/null || code=$?
  cat "$log" >&2
  if [ "$code" -ne 0 ]; then
    problem=$(problem_of "$(cat "$log")")
    explain "$code" "$problem"
  fi
  rm -f "$log"
  return "$code"
}

# has_container ENGINE NAME
has_container() {
  command -v "$1" > /dev/null || return 1
  "$1" container inspect "$2" > /dev/null 2>&1
}

# label_of ENGINE NAME LABEL
label_of() {
  local value
  value=$("$1" container inspect --format "{{index .Config.Labels \"$3\"}}" "$2" 2> /dev/null) || value=''
  [ "$value" = '<no value>' ] || echo "$value"
}

# has_ended ENGINE NAME: it does not run, or had to be started anew.
has_ended() {
  local state
  state=$("$1" container inspect --format '{{.State.Status}} {{.RestartCount}}' "$2" 2> /dev/null) || return 0
  case $state in
    *' 0') [[ $state == exited* || $state == stopped* || $state == dead* ]] ;;
    *) true ;;
  esac
}

# remove_container ENGINE NAME: answers under way may end first; its data is on the volume.
remove_container() {
  has_container "$1" "$2" || return 0
  run_quietly "$1" stop --time 45 "$2" || true
  run_quietly "$1" rm --force "$2"
}
