as_user $scripts/switch-model.sh llamapod-demo-sv --instance main
grep -x LLAMAPOD_MODEL=llamapod-demo-sv $guest_home/.config/llamapod/main.env
as_user $scripts/complete-restart.sh --instance main
http /health/ready | grep '"model":"llamapod-demo-sv"'
