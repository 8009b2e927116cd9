#!/usr/bin/env bash
# As the user: no limit, as the cgroup has no such controller; and a hang is found sooner than an operator would want.
set -euo pipefail
drop_ins=$HOME/.config/containers/systemd/llamapod@.container.d
mkdir -p "$drop_ins"
cat > "$drop_ins/99-test.conf" << 'CONF'
[Container]
PidsLimit=
HealthInterval=2s
HealthRetries=2
CONF
