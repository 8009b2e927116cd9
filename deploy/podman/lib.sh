# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.

# shellcheck disable=SC2034 # for those who source this
readonly exit_usage=2 exit_engine=3 exit_unhealthy=4

dry_run=false

say() { printf '%s\n' "$*" >&2; }

# fail CODE WHAT [FIX...]
fail() {
  local code=$1
  shift
  say "${0##*/}: $1"
  shift
  for line in "$@"; do say "  $line"; done
  exit "$code"
}

# Carries a command out, or with --dry-run prints it so that it can be pasted.
run() {
  if "$dry_run"; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

# usage FILE: the comment at the head of a script is its help.
usage() {
  sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$1"
}

# need VALUE-COUNT FLAG: a flag that wants a value has got one.
need() {
  [ "$1" -ge 2 ] || fail "$exit_usage" "$2 wants a value" "${0##*/} --help lists what there is"
}

unknown() {
  fail "$exit_usage" "unknown argument: $1" "${0##*/} --help lists what there is"
}

# usable_podman, usable_docker: say why not, and return 1.
usable_podman() {
  command -v podman > /dev/null || {
    say "podman is not installed"
    return 1
  }
  local problem
  problem=$(podman info 2>&1 > /dev/null) || {
    say "podman does not work: $(head -n 1 <<< "$problem")"
    return 1
  }
}

usable_docker() {
  command -v docker > /dev/null || {
    say "docker is not installed"
    return 1
  }
  local problem
  problem=$(docker info 2>&1 > /dev/null) || {
    say "docker does not work: $(head -n 1 <<< "$problem")"
    return 1
  }
}

# choose_engine auto|podman|docker: prints the engine to use. Podman comes first; that Docker steps in is told.
choose_engine() {
  case $1 in
    podman)
      usable_podman || fail "$exit_engine" "Podman cannot be used." "deploy/podman/doctor.sh says what to do."
      echo podman
      ;;
    docker)
      usable_docker || fail "$exit_engine" "Docker cannot be used." "Is its service running, and may this user use it?"
      echo docker
      ;;
    auto)
      if usable_podman; then
        echo podman
      elif usable_docker; then
        say "Falling back to Docker, whose service runs as root. deploy/podman/doctor.sh says what Podman lacks."
        echo docker
      else
        fail "$exit_engine" "Neither Podman nor Docker can be used." "Install Podman: sudo apt-get install podman uidmap"
      fi
      ;;
    *) fail "$exit_usage" "--engine is auto, podman or docker, not $1" ;;
  esac
}

# missing_cdi_path ROOT: the first file that a CDI specification names and that is gone, as after a driver's update.
missing_cdi_path() {
  local path
  while read -r path; do
    [ -e "$1$path" ] || {
      echo "$path"
      return
    }
  done < <(grep -rhos 'hostPath: *[^ ,}]*' "$1/etc/cdi" "$1/var/run/cdi" | sed 's/hostPath: *//; s/"//g')
}

# explain CODE LOG: what an exit code of the engine means, in words that say what to do.
explain() {
  local code=$1 log=$2
  case $code in
    125)
      if grep -q 'unresolvable CDI devices\|CDI device injection failed\|could not select device driver' "$log"; then
        say "The engine knows no device nvidia.com/gpu=all. Make its specification, as an administrator:"
        say "  sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml && sudo chmod 644 /etc/cdi/nvidia.yaml"
      elif grep -q 'image not known\|initializing source\|unable to.*pull\|manifest unknown\|no such host' "$log"; then
        say "The image is not here and cannot be fetched. Build it: deploy/podman/image.sh build"
      elif grep -q 'no secret with name' "$log"; then
        say "A secret is missing. Make it: podman secret create llamapod-keys FILE"
      elif grep -q 'already in use' "$log"; then
        say "A container of that name exists: deploy/podman/complete-restart.sh replaces it."
      else
        say "The engine refused the request (exit code 125): see its message above."
      fi
      ;;
    126 | 127)
      if grep -q 'unresolvable CDI devices' "$log"; then
        say "The engine knows no device nvidia.com/gpu=all. Make its specification, as an administrator:"
        say "  sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml && sudo chmod 644 /etc/cdi/nvidia.yaml"
      elif [[ " ${command_line:-} " == *' nvidia.com/gpu='* ]] && [ -n "$(missing_cdi_path '')" ]; then
        # What the engine says here depends on its runtime, and may not name the file.
        say "The device specification in /etc/cdi names $(missing_cdi_path ''), which is gone, as after a driver update. Make it anew:"
        say "  sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml   (or: sudo systemctl restart nvidia-cdi-refresh)"
      elif grep -qi 'address already in use\|port is already allocated' "$log"; then
        say "The port is taken: choose another with --port, or find who has it: ss -ltnp"
      elif grep -qi 'permission denied' "$log"; then
        say "The system refused something to this user: ports below 1024, or a folder or device it may not open."
      else
        say "The container could not be started (exit code $code): see the engine's message above."
      fi
      ;;
    137) say "The container was killed: out of memory, failed health checks, or too slow to stop. See: deploy/podman/status.sh" ;;
    143) say "The container was told to stop." ;;
    *) say "The engine ended with exit code $code: see its message above." ;;
  esac
}

# engine_call COMMAND...: carried out; a failure is explained. The container's monitor keeps what it is given as standard error
# open for as long as it lives, so that has to be a file: whoever reads our own output would wait with it.
engine_call() {
  if "$dry_run"; then
    run "$@"
    return
  fi
  local log code=0 command_line="$*"
  log=$(mktemp)
  "$@" 2> "$log" > /dev/null || code=$?
  cat "$log" >&2
  [ "$code" -eq 0 ] || explain "$code" "$log"
  rm -f "$log"
  return "$code"
}

# has_container ENGINE NAME
has_container() {
  command -v "$1" > /dev/null || return 1
  "$1" container inspect "$2" > /dev/null 2>&1
}

# http_get URL: the body, whatever the status; 1 where nobody answers. Needs no curl.
http_get() {
  local rest=${1#http://} address path
  address=${rest%%/*}
  path=/${rest#*/}
  (
    exec 3<> "/dev/tcp/${address%:*}/${address##*:}" || exit 1
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n' "$path" "${LLAMAPOD_API_KEY:+Authorization: Bearer $LLAMAPOD_API_KEY$'\r\n'}" >&3
    sed '1,/^\r$/d' <&3
  ) 2> /dev/null
}

# wait_ready URL SECONDS: follows /health/ready. 0 when ready; else prints what it says last and returns 1.
wait_ready() {
  local url=$1 deadline=$((SECONDS + $2)) answer='' last=''
  while [ "$SECONDS" -lt "$deadline" ]; do
    answer=$(http_get "$url/health/ready") || answer=''
    case $answer in
      *'"status":"ok"'*)
        printf '%s\n' "$answer"
        return 0
        ;;
      *'"status":"failed"'*) break ;;
    esac
    [ "$answer" = "$last" ] || say "waiting: ${answer:-no answer yet}"
    last=$answer
    sleep 1
  done
  say "not ready: ${answer:-nobody answers at $url}"
  return 1
}

# json_field NAME: the value of a plain field of the JSON on standard input.
json_field() {
  grep -o "\"$1\":\"\{0,1\}[^\",}]*" | head -n 1 | sed 's/^[^:]*:"\{0,1\}//' || true
}
