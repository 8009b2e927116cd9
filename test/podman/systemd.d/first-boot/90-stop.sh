as_user systemctl --user stop llamapod@main
property Result | grep -x success
as_user journalctl --user --quiet --unit llamapod@main --output cat | grep -q 'model is ready' || journalctl --quiet | grep -q 'model is ready'
