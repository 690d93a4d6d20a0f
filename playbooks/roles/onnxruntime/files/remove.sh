# Removes what install.sh made in $root, unless $really is no; prints `orchestrate:removed=` with what
# goes. A virtual environment that somebody else made stays. Needs a POSIX shell.
# shellcheck shell=sh disable=SC2154
removed=
for path in "$root/venv" "$root/venv.new" "$root/venv.old" /var/lib/orchestrate.wheels.tar; do
  [ -e "$path" ] || continue
  [ "$path" != "$root/venv" ] || [ -e "$path/orchestrate-requirements.txt" ] || continue
  [ "$really" = no ] || rm -rf "$path" || exit 1
  removed="$removed $path"
done
printf 'orchestrate:removed=%s\n' "${removed# }"
