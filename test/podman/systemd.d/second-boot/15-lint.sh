# Every unit with every set of drop-ins is taken by Quadlet without a word, and what it makes of each of them by systemd.
folder=$(mktemp -d)
drop_ins=$folder/units/llamapod@.container.d
mkdir -p "$drop_ins"
cp $scripts/quadlet/llamapod* "$folder/units/"
names=("$example"/llamapod@.container.d/*.conf)
quadlet() { QUADLET_UNIT_DIRS=$folder/units /usr/libexec/podman/quadlet -user "$@" 2> "$folder/said"; }

for ((set = 0; set < 1 << ${#names[@]}; set++)); do
  rm -f "$drop_ins"/*
  for ((bit = 0; bit < ${#names[@]}; bit++)); do
    if ((set >> bit & 1)); then cp "${names[bit]}" "$drop_ins/"; fi
  done
  quadlet -dryrun > /dev/null || { cat "$folder/said" && exit 1; }
  if grep -v 'Loading source' "$folder/said"; then exit 1; fi
done
echo "seen: $set sets of drop-ins"

for drop_in in '' "${names[@]}"; do
  rm -f "$drop_ins"/*
  [ -z "$drop_in" ] || cp "$drop_in" "$drop_ins/"
  rm -rf "$folder/made" && mkdir "$folder/made"
  quadlet "$folder/made"
  cp "$example/llamapod@.socket" "$folder/made/llamapod@main.socket"
  mv "$folder/made/llamapod@.service" "$folder/made/llamapod@main.service"
  chmod -R a+rX "$folder"
  # Of a template in a pod Quadlet makes a wish that systemd passes over; StartWithPod=false, against it, needs Podman 5.3.
  as_user systemd-analyze --user verify "$folder"/made/*.{service,socket} > "$folder/said" 2>&1 || true
  if grep -v 'on llamapod@.service, ignoring' "$folder/said"; then
    echo "with ${drop_in:-no drop-in}"
    exit 1
  fi
done
