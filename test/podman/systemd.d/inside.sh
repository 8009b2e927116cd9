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

active_and_ready() { [ "$(property ActiveState)" = active ] && ready; }

# healthy_again RESTARTS: restarted that often, and answering.
healthy_again() { [ "$(property NRestarts)" -ge "$1" ] && active_and_ready; }

# pid_of CONTAINER: its first process, seen from here.
pid_of() { as_user podman inspect --format '{{.State.Pid}}' "$1"; }

readonly registry=127.0.0.1:5000

# with_registry: a registry on this machine, without TLS, for as long as the scenario takes; and a key pair, in the folder $keys.
with_registry() {
  keys=$(mktemp -d)
  cat > "$keys/registry.yml" << YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $keys/images}}
http: {addr: $registry}
YAML
  docker-registry serve "$keys/registry.yml" > "$keys/registry.log" 2>&1 &
  # shellcheck disable=SC2064 # this one
  trap "kill $!" EXIT
  chown llamapod: "$keys"
  as_user tee "$guest_home/.config/containers/registries.conf" > /dev/null << CONF
[[registry]]
location = "$registry"
insecure = true
CONF
  echo passphrase | as_user tee "$keys/pass" > /dev/null
  as_user $scripts/image.sh key --out "$keys/release" --passphrase-file "$keys/pass"
  until_true bash -c "true < /dev/tcp/${registry/:/\/}"
}
