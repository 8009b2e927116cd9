# A stopped process answers no probe: the health check kills it, and systemd starts it again.
before=$(property NRestarts)
kill -STOP "$(pid_of llamapod-main)"
until_true healthy_again "$((before + 1))"
