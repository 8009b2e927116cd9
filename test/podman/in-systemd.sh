#!/usr/bin/env bash
# Inside the system that test/podman/systemd boots, as root.
set -euo pipefail

# pasta wants an interface to copy, and Quadlet units wait for the network.
ip link add v0 type veth peer name v1
ip address add 198.51.100.2/24 dev v0
ip link set v0 up
ip link set v1 up
ip route add default via 198.51.100.1
systemctl start network-online.target

as_user() {
  runuser -u llamapod -- env HOME=/home/llamapod USER=llamapod XDG_RUNTIME_DIR=/run/user/1000 \
    DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"
}
step() { echo "--- $* (${SECONDS} s)"; }
unit=llamapod@main
property() { as_user systemctl --user show "$unit" --property "$1" --value; }
ready() {
  exec 3<> /dev/tcp/127.0.0.1/8080
  printf 'GET /health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
  grep -q '"status":"ok"' <&3
}
# healthy_again RESTARTS
healthy_again() {
  for _ in $(seq 120); do
    if [ "$(property NRestarts)" -ge "$1" ] && [ "$(property ActiveState)" = active ] && ready; then return; fi
    sleep 0.5
  done
  echo "not healthy again after $1 restarts: $(property ActiveState)"
  return 1
}

as_user podman --version
as_user podman load --quiet --input /ci/image.tar

step "install and start"
# A hang is found sooner than an operator would want.
sed -i 's/^HealthInterval=15s/HealthInterval=2s/; s/^HealthTimeout=5s/HealthTimeout=2s/; s/^HealthRetries=4/HealthRetries=2/' \
  /ci/deploy/podman/quadlet/llamapod@.container
as_user /ci/deploy/podman/start-podman.sh --quadlet
ready
as_user podman ps --format '{{.Names}} {{.Status}}'

step "a crash"
kill -9 "$(as_user podman inspect --format '{{.State.Pid}}' llamapod-main)"
healthy_again 1

step "a hang"
kill -STOP "$(as_user podman inspect --format '{{.State.Pid}}' llamapod-main)"
healthy_again 2

step "switch, and it is kept"
as_user /ci/deploy/podman/switch-model.sh llamapod-demo-sv --instance main
grep '^LLAMAPOD_MODEL=llamapod-demo-sv$' /home/llamapod/.config/llamapod/main.env
as_user /ci/deploy/podman/complete-restart.sh --instance main
ready
{ as_user /ci/deploy/podman/doctor.sh || true; } | grep -E '^ok +(engine|session|linger|health)'

step "stop"
as_user systemctl --user stop "$unit"
property Result | grep success
as_user journalctl --user --quiet --unit "$unit" --output cat | grep -c 'model is ready' || journalctl --quiet | grep -c 'model is ready'
as_user /ci/deploy/podman/uninstall.sh
