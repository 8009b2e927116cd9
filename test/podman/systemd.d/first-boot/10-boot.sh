# Nobody logs in and nobody starts anything: the machine boots, and the server answers.
until_true active_and_ready
as_user podman ps --format '{{.Names}} {{.Status}}' | grep '^llamapod-main .*(healthy)'
chat
as_user podman exec llamapod-main sh -c 'echo kept > /var/lib/llamapod/models/mark'
