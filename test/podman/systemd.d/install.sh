#!/usr/bin/env bash
# Before the first boot, as the user: what `start-podman.sh --quadlet` installs, and what this machine wants to be otherwise.
set -euo pipefail
from=/ci/deploy/podman/quadlet
units=$HOME/.config/containers/systemd
mkdir -p "$units/llamapod@.container.d" "$HOME/.config/llamapod"
cp "$from/llamapod@.container" "$from/llamapod.network" "$units/"
ln -s llamapod@.container "$units/llamapod@main.container"
cp "$from/examples/main.env" "$HOME/.config/llamapod/main.env"
# No limit, as the cgroup has no such controller; and a hang is found sooner than an operator would want.
cat > "$units/llamapod@.container.d/99-test.conf" << 'CONF'
[Container]
PidsLimit=
HealthInterval=2s
HealthTimeout=2s
HealthRetries=2
HealthStartupInterval=1s
CONF
