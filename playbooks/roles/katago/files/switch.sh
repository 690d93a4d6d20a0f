# Makes $root/bin/katago a link to $start, once that one has answered, and removes older ones. Leaves
# $origin and $backend beside an engine of ours, to say what it is.
# shellcheck shell=sh disable=SC2154
set -eu
umask 022
complain() {
  printf 'ERROR: %s\n' "$1" >&2
  exit 1
}

status=0
said=$(timeout 120 "$start" version 2>&1 </dev/null) || status=$?
case $status:$said in
  0:*KataGo*) ;;
  *)
    said=$(printf '%s\n' "$said" | sed -n '/./h; $ {x; p;}')
    case $start in
      "$(readlink "$root/bin/katago")") ;;
      "$root"/katago/*) rm -rf "${start%/*}" && rmdir "$root/katago" 2>/dev/null || true ;;
    esac
    complain "it does not answer '$start version': ${said:-it ended with status $status}"
    ;;
esac

case $start in
  "$root"/katago/*) printf '%s\n%s\n' "$origin" "$backend" >"${start%/*}/origin" ;;
esac
mkdir -p "$root/bin"
link=$root/bin/katago
if [ -e "$link" ] && [ ! -L "$link" ]; then
  kept=$link.before-$(date +%Y%m%d-%H%M%S)
  mv -T "$link" "$kept"
  printf 'orchestrate:kept=%s\n' "$kept"
fi
ln -sfn "$start" "$link.new"
mv -T "$link.new" "$link"
for folder in "$root"/katago/*; do
  [ "$folder" = "${start%/*}" ] || rm -rf "$folder"
done
case $start in
  "$root"/katago/*) ;;
  *) mkdir -p "$root/katago" && printf '%s\n' "$start" >"$root/katago/linked" ;;
esac
printf '%s\n' "$said"
