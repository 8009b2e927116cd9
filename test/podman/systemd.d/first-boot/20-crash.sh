before=$(property NRestarts)
kill -9 "$(pid_of llamapod-main)"
until_true 60 healthy_again "$((before + 1))"
