# Every compose file under both providers, with a GPU that the engine resolves and that computes nothing.
as_user systemctl --user stop llamapod@main
with_gpu
files=$scripts/podman-compose

gpu_setting=LLAMAPOD_GPU=off
# podman_compose FILES... -- ARGUMENTS...; docker_compose over Podman's socket.
compose() {
  local provider=$1 arguments=()
  shift
  while [ "$1" != -- ]; do arguments+=(-f "$files$1.yml") && shift; done
  as_user env LLAMAPOD_API_KEYS_FILE=/ci/keys LLAMAPOD_IMAGE=localhost/llamapod:cpu $gpu_setting PROMETHEUS_IMAGE=localhost/stand-in GRAFANA_IMAGE=localhost/stand-in \
    DOCKER_HOST=unix:///run/user/1000/podman/podman.sock timeout 180 $provider "${arguments[@]}" "${@:2}"
}
podman_compose() { compose podman-compose "$@"; }
docker_compose() { compose 'docker compose' "$@"; }
stop() { "$1" "${@:2}" -- down --timeout 1; }

# with PROVIDER OVERLAY gpu|none|refused: what becomes of the GPU.
with() {
  local became=refused
  if "$1" '' "$2" -- up -d > /tmp/compose.log 2>&1; then
    if sees_gpu llamapod; then became=gpu; else became=none; fi
  fi
  stop "$1" '' "$2" >> /tmp/compose.log 2>&1 || true
  echo "seen: $1 $2: $became"
  [ "$became" = "$3" ] || { cat /tmp/compose.log && return 1; }
}

# Starts Podman's socket too.
fence compose.md#compose
chat
stop docker_compose ''

fence compose.md#keys > /tmp/keys.log 2>&1
key=$(key_in /tmp/keys.log)
until_true answers_only "$key"
stop podman_compose '' .keys
docker_compose '' .keys -- up -d
until_true answers_only "$key"
stop docker_compose '' .keys

printf 'FROM localhost/llamapod:cpu\nENTRYPOINT ["sh", "-c", "sleep 600"]\nHEALTHCHECK NONE\n' | as_user podman build --quiet --format docker --tag localhost/stand-in -
for provider in podman_compose docker_compose; do
  $provider '' .monitoring -- up -d
  until_true chat
  as_user podman exec llamapod-prometheus test -s /etc/prometheus/prometheus.yml
  # Prometheus asks by this name.
  as_user podman exec llamapod-prometheus bash -c 'exec 3<> /dev/tcp/llamapod/8080 && printf "GET /metrics HTTP/1.0\r\nHost: llamapod:8080\r\n\r\n" >&3 && head -n 1 <&3' | grep ' 200 '
  as_user podman exec llamapod-grafana test -s /var/lib/grafana/dashboards/llamapod.json
  stop $provider '' .monitoring
done
with podman_compose .gpu gpu
# By hand a GPU is required, and this one computes nothing.
gpu_setting=
podman_compose '' .gpu -- up -d
is_required() { as_user podman logs llamapod 2>&1 | grep 'has to have a GPU and cannot start'; }
until_true is_required
stop podman_compose '' .gpu
gpu_setting=LLAMAPOD_GPU=off
with podman_compose .gpu-cdi none
with podman_compose .gpu-nvidia gpu
# 2.26, which takes the name for a path: 2.30 would not.
with docker_compose .gpu refused
with docker_compose .gpu-cdi gpu
with docker_compose .gpu-nvidia none
without_gpu
as_user systemctl --user start llamapod@main
