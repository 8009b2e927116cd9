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

# The same by compose, with keys.
as_user npx llamapod key docker > /tmp/docker-keys 2> /tmp/docker-key
broken LLAMAPOD_API_KEYS_FILE=/tmp/docker-keys $scripts/start.sh --compose
docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' llamapod | grep -x llamapod
answers_only "$(key_in /tmp/docker-key)"

broken $scripts/uninstall.sh --delete-data
[ -z "$(docker ps --all --quiet)" ]
[ -z "$(docker volume ls --quiet)" ]
[ "$(docker network ls --quiet --filter type=custom)" = '' ]
systemctl stop docker.service docker.socket
