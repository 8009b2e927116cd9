# Every compose file under both providers, with a GPU that the engine resolves and that computes nothing.
as_user systemctl --user stop llamapod@main
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
as_user systemctl --user start podman.socket
files=$scripts/podman-compose

# podman_compose FILES... -- ARGUMENTS...; docker_compose over Podman's socket.
compose() {
  local provider=$1 arguments=()
  shift
  while [ "$1" != -- ]; do arguments+=(-f "$files$1.yml") && shift; done
  as_user env LLAMAPOD_IMAGE=localhost/llamapod:cpu LLAMAPOD_GPU=off PROMETHEUS_IMAGE=localhost/stand-in GRAFANA_IMAGE=localhost/stand-in \
    DOCKER_HOST=unix:///run/user/1000/podman/podman.sock timeout 180 $provider "${arguments[@]}" "${@:2}"
}
podman_compose() { compose podman-compose "$@"; }
docker_compose() { compose 'docker compose' "$@"; }
sees_gpu() { as_user podman exec llamapod test -c /dev/nvidia0; }
stop() { "$1" "${@:2}" -- down --timeout 1; }

# with PROVIDER OVERLAY gpu|none|refused: what becomes of the GPU.
with() {
  local became=refused
  if "$1" '' "$2" -- up -d > /tmp/compose.log 2>&1; then
    if sees_gpu; then became=gpu; else became=none; fi
  fi
  stop "$1" '' "$2" >> /tmp/compose.log 2>&1 || true
  echo "seen: $1 $2: $became"
  [ "$became" = "$3" ] || { cat /tmp/compose.log && return 1; }
}

printf 'FROM localhost/llamapod:cpu\nENTRYPOINT ["sh", "-c", "sleep 600"]\nHEALTHCHECK NONE\n' | as_user podman build --quiet --format docker --tag localhost/stand-in -
for provider in podman_compose docker_compose; do
  $provider '' .monitoring -- up -d
  until_true chat
  as_user podman exec llamapod-prometheus test -s /etc/prometheus/prometheus.yml
  as_user podman exec llamapod-grafana test -s /var/lib/grafana/dashboards/llamapod.json
  stop $provider '' .monitoring
done
with podman_compose .gpu gpu
with podman_compose .gpu-cdi none
with podman_compose .gpu-nvidia gpu
# 2.26, which takes the name for a path: 2.30 would not.
with docker_compose .gpu refused
with docker_compose .gpu-cdi gpu
with docker_compose .gpu-nvidia none
rm -r /etc/cdi /dev/nvidia0
as_user systemctl --user start llamapod@main
