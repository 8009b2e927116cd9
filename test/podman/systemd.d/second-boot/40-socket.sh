# The container has no network at all: systemd holds the port. Whoever comes while the server restarts waits, and is answered.
as_user $scripts/drop-in.sh socket
as_user $scripts/complete-restart.sh --instance main
ready
chat
[ "$(as_user podman inspect --format '{{.HostConfig.NetworkMode}}' llamapod-main)" = none ]
as_user podman exec llamapod-main cat /proc/net/dev > "$guest_home/interfaces"
[ "$(tail -n +3 "$guest_home/interfaces" | grep -vc ' lo:')" -eq 0 ]
http /metrics 9464 | grep -q '^llamapod_'
http /health/live | grep '^HTTP/1.1 200'

as_user systemctl --user restart --no-block llamapod@main
restarting() { [ "$(property ActiveState)" = activating ]; }
until_true restarting
chat

as_user $scripts/drop-in.sh socket --remove
as_user $scripts/complete-restart.sh --instance main
ready
