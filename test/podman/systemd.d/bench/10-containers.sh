# The table of the benchmark, in lines that run.sh shows.
systemctl start docker
as_user podman save --quiet localhost/llamapod:cpu | docker load --quiet
cd /ci/llamapod || exit
LLAMAPOD_TEST_PODMAN_USER=llamapod node dist/bench/main.js containers --rounds "$(cat /ci/rounds)" \
  --ways host,published,bridge,host-network,socket,docker > /tmp/table
echo "seen: $(podman --version), $(docker --version), node $(node --version)"
sed 's/^/seen: /' /tmp/table
