# One instance with keys from a secret, a GPU (that computes nothing) and a limit of memory.
with_gpu
as_user podman tag localhost/llamapod:cpu localhost/llamapod:cuda
as_user npx llamapod key alice > /tmp/alice-keys 2> /tmp/alice
as_user podman secret create llamapod-keys /tmp/alice-keys
for name in keys gpu memory; do as_user $scripts/drop-in.sh $name; done

# The GPU is required: without one that computes the server ends with 3.
refused 4 as_user $scripts/complete-restart.sh --instance main
as_user journalctl --user --quiet --unit llamapod@main --lines 40 | grep 'has to have a GPU and cannot start'

on_cpu=$units/llamapod@main.container.d/98-on-cpu.conf
printf '[Container]\nEnvironment=LLAMAPOD_GPU=off\n' | as_user tee $on_cpu
as_user $scripts/complete-restart.sh --instance main
sees_gpu llamapod-main
answers_only "$(key_in /tmp/alice)"
property MemoryMax | grep -x $((12 << 30))

# The next scenario starts it anew.
as_user rm $on_cpu
for name in keys gpu memory; do as_user $scripts/drop-in.sh $name --remove; done
as_user systemctl --user stop llamapod@main
as_user podman secret rm llamapod-keys
as_user podman rmi localhost/llamapod:cuda
without_gpu
