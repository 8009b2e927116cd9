# What systemd holds for us goes with everything else, sockets that wait for clients too; what was installed before can be installed again.
as_user $scripts/drop-in.sh socket
as_user $scripts/complete-restart.sh --instance main
ready
listens() { ss --listening --tcp --numeric --no-header "sport = :8080 or sport = :9464" | grep .; }
[ "$(listens | wc -l)" -eq 2 ]

as_user $scripts/uninstall.sh
if listens || as_user systemctl --user list-units --all --plain --no-legend 'llamapod*' | grep .; then exit 1; fi
if as_user systemctl --user list-unit-files --no-legend 'llamapod*' | grep .; then exit 1; fi
if find $guest_home/.config/systemd $units -name '*llamapod*' ! -name 'llamapod@.container.d' | grep .; then exit 1; fi
if as_user podman ps --all --quiet | grep .; then exit 1; fi
as_user podman volume exists llamapod-main-data
grep -x LLAMAPOD_MODEL=llamapod-demo-sv $guest_home/.config/llamapod/main.env

# It does not come back with the user's next session either.
as_user systemctl --user daemon-reload
as_user systemctl --user restart sockets.target
if listens; then exit 1; fi

as_user bash /ci/systemd.d/limits.sh
as_user $scripts/start-podman.sh --quadlet
ready
http /health/ready | grep '"model":"llamapod-demo-sv"'
