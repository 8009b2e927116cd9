# A model that cannot be had changes nothing, whether the server runs or has to be started with it.
refused() {
  if as_user $scripts/switch-model.sh no-such-model --instance main; then return 1; fi
  until_true active_and_ready
  http /health/ready | grep '"model":"llamapod-demo-sv"'
  grep -x LLAMAPOD_MODEL=llamapod-demo-sv $guest_home/.config/llamapod/main.env
}
refused
as_user systemctl --user stop llamapod@main
refused
