#!/usr/bin/env bash
# Inside the machine that test/podman/virtual-machine boots, as root. Prints what it finds, a line a finding.
set -euo pipefail

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
found() { echo "FOUND $*"; }
lost() {
  journalctl --quiet --output cat --lines 40 _SYSTEMD_USER_UNIT="$unit.service" | cut -c 1-300
  journalctl --quiet --dmesg --output cat --lines 40 | cut -c 1-200
  echo "NOT AS IT SHOULD BE: $* ($(as_user systemctl --user show "$unit" --property NRestarts,Result,ExecMainStatus | tr '\n' ' '))"
  exit 1
}
unit=llamapod@main
property() { as_user systemctl --user show "$unit" --property "$1" --value; }
inside() { as_user podman exec llamapod-main bash -c "$1"; }
ready() {
  (
    exec 3<> /dev/tcp/127.0.0.1/8080
    printf 'GET /health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    grep -q '"status":"ok"' <&3
  ) 2> /dev/null
}
# A long answer without chance: what it says, from its first token to its last.
answer() {
  local body='{"model":"llamapod-demo","prompt":"llamapod","max_tokens":1500,"ignore_eos":true,"temperature":0}'
  exec 3<> /dev/tcp/127.0.0.1/8080
  printf 'POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' "${#body}" "$body" >&3
  grep -o '"choices":.*"finish_reason":"length"' <&3
}
becomes_ready() {
  for _ in $(seq 300); do
    ! ready || return 0
    sleep 1
  done
  lost "not ready: $(property ActiveState), $(property Result)"
}
never_restarted() { [ "$(property NRestarts)" = 0 ] || lost "the unit was started again"; }
events() { awk '$1 == "oom_kill" { print $2 }' "/sys/fs/cgroup$(property ControlGroup)/memory.events"; }
server() { pgrep -f 'main.js serve' | head -n 1; }
# The model's, and one that stands by.
runners() { pgrep -f 'runner/main.js'; }
# Who goes first when memory runs out is left to chance otherwise.
sacrifice() { for process in "$@"; do echo 1000 > "/proc/$process/oom_score_adj"; done; }
# Takes memory until the kernel kills somebody for it. The parts stay small, since each is written to.
hog='node -e "const all = []; for (;;) all.push(Buffer.alloc(8e6, 1))"'
# Starts more processes than there may be, tells how many were refused, and takes leave of the others after a while. Their parent
# has to: the server does not, which would inherit them.
crowd='node -e "
  let refused = 0;
  const start = () => require(\"node:child_process\").spawn(\"sleep\", [\"600\"]).on(\"error\", () => refused++);
  const all = Array.from({ length: 600 }, start);
  setTimeout(() => console.log(refused), 5_000);
  setTimeout(() => all.forEach((child) => child.kill()), 60_000);
"'

step "cgroups: $(stat -fc %T /sys/fs/cgroup), $(cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers)"
as_user podman --version
as_user podman load --quiet --input /ci/image.tar

step "start under MemoryMax=500M"
units=/home/llamapod/.config/containers/systemd
install -D -o llamapod -g llamapod /dev/stdin "$units/llamapod@.container.d/30-memory.conf" <<< $'[Service]\nMemoryMax=500M\nMemorySwapMax=0'
chown -R llamapod: /home/llamapod/.config
sed -i 's/^HealthTimeout=.*/HealthTimeout=60s/; s/^HealthStartupTimeout=.*/HealthStartupTimeout=60s/; s/^HealthStartupInterval=.*/HealthStartupInterval=20s/; s/^HealthInterval=.*/HealthInterval=120s/' \
  /ci/deploy/podman/quadlet/llamapod@.container
as_user /ci/deploy/podman/start-podman.sh --quadlet
becomes_ready
found "MemoryMax: $(property MemoryMax) bytes for the unit; podman stats: $(as_user podman stats --no-stream --format '{{.MemUsage}}, {{.PIDs}} processes' llamapod-main)"

step "PidsLimit"
limit=$(inside 'cat /sys/fs/cgroup/pids.max')
[ "$limit" = 512 ] || lost "pids.max is $limit"
inside "$crowd" > /tmp/refused &
crowding=$!
for _ in $(seq 300); do [ ! -s /tmp/refused ] || break; sleep 1; done
refused=$(cat /tmp/refused)
[ "${refused:-0}" -gt 0 ] || lost "no process was refused"
ready || lost "not ready beside too many processes"
wait "$crowding"
never_restarted
found "PidsLimit: pids.max $limit; $refused of 600 more processes are refused, and the server answers beside the others"

if [ -e /sys/fs/selinux/enforce ]; then
  step "SELinux, enforcing: $(cat /sys/fs/selinux/enforce)"
  run=(as_user podman run --rm --network=none --entrypoint cat)
  found "SELinux: the container's process is $("${run[@]}" localhost/llamapod:cpu /proc/1/attr/current | tr -d '\0')"
  install -d -o llamapod -g llamapod /home/llamapod/models
  install -o llamapod -g llamapod /dev/stdin /home/llamapod/models/x <<< text
  "${run[@]}" --volume=/home/llamapod/models:/m:ro localhost/llamapod:cpu /m/x > /dev/null
  denied=$({ cat /var/log/audit/audit.log && journalctl --quiet --output cat; } | grep 'avc:.*denied.*container_t.*user_home_t' | tail -n 1) ||
    lost "no denial was recorded of a folder without :z"
  found "SELinux: without :z $denied"
  "${run[@]}" --volume=/home/llamapod/models:/m:ro,z localhost/llamapod:cpu /m/x > /dev/null
  found "SELinux: with :z the files are $(stat -c %C /home/llamapod/models/x)"
  "${run[@]}" --volume=/home/llamapod/models:/m:ro,Z localhost/llamapod:cpu /m/x > /dev/null
  found "SELinux: with :Z the files are $(stat -c %C /home/llamapod/models/x)"
else
  echo "NOT TESTED: SELinux is not in this kernel"
fi

step "the runner is killed for memory"
never_restarted
answer > /tmp/undisturbed
server=$(server) runners=$(runners)
# shellcheck disable=SC2086 # several
sacrifice $runners
# shellcheck disable=SC2086
echo "the server is $server, its runners are" $runners
answer > /tmp/interrupted &
answering=$!
code=0
inside "$hog" || code=$?
kill -0 "$answering" || lost "the answer was over before the runner was killed"
wait "$answering" || lost "the answer did not end"
cmp /tmp/undisturbed /tmp/interrupted || lost "the answer is another one"
becomes_ready
never_restarted
[ "$(events)" -ge 1 ] || lost "nobody was killed for memory"
[ "$(runners)" != "$runners" ] || lost "no runner was killed"
[ "$(server)" = "$server" ] || lost "the server was killed with it"
found "a runner killed for memory ($(events) kills, the hog ended with $code): the server stays, OOMPolicy=$(property OOMPolicy), ready again, and the answer under way has lost nothing"

step "the server is killed for memory"
before=$(property NRestarts)
sacrifice "$server"
inside "$hog" || true
for _ in $(seq 120); do [ "$(property NRestarts)" -le "$before" ] || break; sleep 1; done
becomes_ready
[ "$(property NRestarts)" -gt "$before" ] || lost "the unit was not started again"
found "a server killed for memory: started again by systemd, ready"

step "OOMPolicy=stop instead"
printf '[Service]\nOOMPolicy=stop\n' > "$units/llamapod@.container.d/40-policy.conf"
as_user systemctl --user daemon-reload
as_user systemctl --user restart "$unit"
becomes_ready
server=$(server)
# shellcheck disable=SC2046
sacrifice $(runners)
inside "$hog" || true
for _ in $(seq 30); do
  kill -0 "$server" 2> /dev/null || break
  sleep 1
done
if kill -0 "$server" 2> /dev/null; then found "OOMPolicy=stop: the server stays as well"; else found "OOMPolicy=stop: a runner killed for memory takes the server with it"; fi
