# shellcheck shell=bash
# What the scenarios share. Read by the shell of each, as root in the booted system.

# shellcheck disable=SC2034 # for the scenarios
readonly scripts=/ci/deploy/podman guest_home=/home/llamapod units=/home/llamapod/.config/containers/systemd
readonly example=$scripts/quadlet/examples

as_user() {
  runuser -u llamapod -- env --unset=BASH_ENV HOME=$guest_home USER=llamapod XDG_RUNTIME_DIR=/run/user/1000 \
    DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"
}

# property NAME [UNIT]
property() { as_user systemctl --user show "${2:-llamapod@main}" --property "$1" --value; }

# Longer than anything takes that happens at all, on a machine that has much else to do.
readonly patience_seconds=180

# until_true COMMAND...
until_true() {
  local deadline=$((SECONDS + patience_seconds))
  until "$@" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || {
      echo "never came true: $*"
      return 1
    }
    sleep 0.3
  done
}

# http PATH [PORT]: what the server answers.
http() {
  exec 3<> "/dev/tcp/127.0.0.1/${2:-8080}" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
  cat <&3
  exec 3>&-
}

ready() { http /health/ready | grep -q '"status":"ok"'; }

# chat [PORT]: asks something and gets words back.
chat() {
  local body='{"model":"llamapod-demo","messages":[{"role":"user","content":"What is llamapod?"}],"max_tokens":16}'
  exec 3<> "/dev/tcp/127.0.0.1/${1:-8080}" || return 1
  printf 'POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
  grep -q '"finish_reason"' <&3
}

# answers_only KEY: the API answers who has that key, and nobody else.
answers_only() { [ "$(status_with)" = 401 ] && [ "$(status_with "$1")" = 200 ]; }
status_with() {
  exec 3<> /dev/tcp/127.0.0.1/8080 || return 1
  printf 'GET /v1/models HTTP/1.0\r\nHost: localhost\r\n%s\r\n' "${1:+Authorization: Bearer $1$'\r\n'}" >&3
  head -n 1 <&3 | cut -d ' ' -f 2
}

# key_in FILE: the key in what `llamapod key` has said.
key_in() { sed -n 's/.*: \(lp_[^ ]*\)$/\1/p' "$1"; }

# refused CODE COMMAND...: it ends with that code; what it says is in the file $said.
readonly said=/tmp/said
refused() {
  local code=0
  "${@:2}" > "$said" 2>&1 || code=$?
  [ "$code" -eq "$1" ] || { cat "$said" && return 1; }
}

# fence PAGE#HEADING: carries out what stands there in docs/podman, as the user in a checkout. `systemd` looks that none is left.
fence() {
  local commands command
  mapfile -t commands < "/ci/fences/$1"
  for command in "${commands[@]}"; do
    case $command in
      # It goes on for ever: that it has something to tell is enough.
      'journalctl '*) grep --max-count 1 'llamapod-main\[' < <(in_checkout "$command") ;;
      *) in_checkout "$command" ;;
    esac
  done
  rm "/ci/fences/$1"
}
in_checkout() (cd /ci && as_user bash -c "$1")

# with_gpu: a device that Podman finds by the name of a GPU, and that computes nothing; without_gpu.
with_gpu() {
  mknod -m 666 /dev/nvidia0 c 1 3
  mkdir -p /etc/cdi
  cat > /etc/cdi/nvidia.yaml << 'CDI'
cdiVersion: "0.5.0"
kind: "nvidia.com/gpu"
devices:
- name: all
  containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
CDI
  chmod 644 /etc/cdi/nvidia.yaml
}
without_gpu() { rm -r /etc/cdi /dev/nvidia0; }
sees_gpu() { as_user podman exec "$1" test -c /dev/nvidia0; }

active_and_ready() { [ "$(property ActiveState)" = active ] && ready; }

# healthy_again RESTARTS: restarted that often, and answering.
healthy_again() { [ "$(property NRestarts)" -ge "$1" ] && active_and_ready; }

# pid_of CONTAINER: its first process, seen from here.
pid_of() { as_user podman inspect --format '{{.State.Pid}}' "$1"; }

readonly registry=registry.example policy=$guest_home/.config/containers/policy.json

# with_registry: one on this machine, without TLS, for as long as the scenario takes, whose images have their signatures beside
# them; and the folder $keys for keys.
with_registry() {
  keys=$(mktemp -d)
  cat > "$keys/registry.yml" << YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $keys/images}}
http: {addr: 127.0.0.1:80}
YAML
  docker-registry serve "$keys/registry.yml" > "$keys/registry.log" 2>&1 &
  # shellcheck disable=SC2064 # this one
  trap "kill $!" EXIT
  grep -q "$registry" /etc/hosts || echo "127.0.0.1 $registry" >> /etc/hosts
  chown llamapod: "$keys"
  as_user mkdir -p $guest_home/.config/containers/registries.d
  as_user tee $guest_home/.config/containers/registries.conf > /dev/null << CONF
[[registry]]
location = "$registry"
insecure = true
CONF
  echo "docker: {$registry: {use-sigstore-attachments: true}}" | as_user tee $guest_home/.config/containers/registries.d/llamapod.yaml > /dev/null
  until_true bash -c 'true < /dev/tcp/127.0.0.1/80'
}

# variant NAME LINES: an image localhost/NAME like ours, with something changed.
variant() {
  printf 'FROM localhost/llamapod:cpu\n%b\n' "$2" | as_user podman build --quiet --format docker --tag "localhost/$1" - > /dev/null
}
