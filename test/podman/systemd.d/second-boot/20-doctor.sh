# What doctor says of the models that shall be loaded together is what this server plans with, before and after there is room for them.
settings=$guest_home/.config/llamapod/main.env
as_user cp "$settings" "$settings.before"
memory() { { as_user $scripts/doctor.sh || true; } | grep -A 2 -E '^[a-z]+ +memory '; }
printf 'LLAMAPOD_PRELOAD=llamapod-demo,llamapod-demo-sv\nLLAMAPOD_MEMORY_BUDGET=130MiB\n' | as_user tee --append "$settings" > /dev/null
as_user $scripts/complete-restart.sh --instance main
memory | tee /tmp/memory
grep -E '^warn +memory +llamapod-demo, llamapod-demo-sv shall .* has 136 MB for models: [0-9]+ MB are missing$' /tmp/memory
as_user sed -i '/^LLAMAPOD_MEMORY_BUDGET=/d' "$settings"
as_user $scripts/complete-restart.sh --instance main
memory | grep '^ok '
as_user mv "$settings.before" "$settings"
as_user $scripts/complete-restart.sh --instance main
