# The page about units, from the first line to the last: it finds the instance, and leaves it with another model.
fence quadlet.md#a-service-of-systemd
grep -x LLAMAPOD_MODEL=llamapod-demo-sv $guest_home/.config/llamapod/main.env
http /health/ready | grep '"model":"llamapod-demo-sv"'
