# The stop before was for that time only: the instance, its model and its volume are there again.
until_true active_and_ready
http /health/ready | grep '"model":"llamapod-demo-sv"'
as_user podman exec llamapod-main cat /var/lib/llamapod/models/mark | grep -x kept
{ as_user $scripts/doctor.sh || true; } | tee /tmp/doctor
for check in engine session linger health; do grep -E "^ok +$check " /tmp/doctor; done
