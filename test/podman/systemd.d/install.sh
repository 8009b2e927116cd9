#!/usr/bin/env bash
# Before the first boot, as the user: what `start-podman.sh --quadlet` installs, and what this machine wants to be otherwise.
set -euo pipefail
from=/ci/deploy/podman/quadlet
units=$HOME/.config/containers/systemd
mkdir -p "$units" "$HOME/.config/llamapod"
cp "$from/llamapod@.container" "$from/llamapod.network" "$units/"
ln -s llamapod@.container "$units/llamapod@main.container"
cp "$from/examples/main.env" "$HOME/.config/llamapod/main.env"
bash "${0%/*}/limits.sh"
