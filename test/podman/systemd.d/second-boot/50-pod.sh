# The server in a pod, which has its port; a crash restarts it there, and stopping the pod stops it.
as_user $scripts/drop-in.sh pod
as_user $scripts/complete-restart.sh --instance main
chat
as_user podman pod inspect llamapod | jq -e '.. | .Containers? // empty | any(.Name == "llamapod-main")'
before=$(property NRestarts)
kill -9 "$(pid_of llamapod-main)"
until_true healthy_again "$((before + 1))"
as_user $scripts/drop-in.sh pod --remove
[ "$(property ActiveState)" = inactive ]
as_user $scripts/complete-restart.sh --instance main
ready
