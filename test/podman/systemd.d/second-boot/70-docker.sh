# Podman is broken: start.sh says so, takes the real Docker, and the server answers there; uninstall.sh cleans up in it.
as_user systemctl --user stop llamapod@main
usermod --append --groups docker llamapod
systemctl start docker
as_user podman save --quiet localhost/llamapod:cpu | docker load --quiet
mkdir /opt/broken
install /dev/stdin /opt/broken/podman <<< $'#!/bin/sh\necho "Error: broken on purpose" >&2\nexit 125'
broken() { as_user env PATH=/opt/broken:/usr/local/bin:/usr/bin:/bin "$@"; }

broken $scripts/start.sh 2>&1 | tee /tmp/start.log
grep 'Falling back to Docker' /tmp/start.log
chat
docker ps --format '{{.Names}} {{.Image}}' | grep -x 'llamapod localhost/llamapod:cpu'
broken $scripts/uninstall.sh --delete-data
[ -z "$(docker ps --all --quiet)" ]
[ -z "$(docker volume ls --quiet)" ]
systemctl stop docker.service docker.socket
