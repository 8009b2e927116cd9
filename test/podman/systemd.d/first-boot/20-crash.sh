before=$(property NRestarts)
kill -9 "$(pid_of llamapod-main)"
until_true healthy_again "$((before + 1))"
