# Removes the KataGo that was installed below $root, unless $really is no; prints `orchestrate:removed=`
# with what goes. A katago that somebody else put there stays. Needs a POSIX shell.
# shellcheck shell=sh disable=SC2154
removed=
take() {
  [ "$really" = no ] || rm -rf "$1" || exit 1
  removed="$removed $1"
}
# Where switch.sh made the link lead to, where that is a program of a package.
linked=$(cat "$root/katago/linked" 2>/dev/null)
case $(readlink "$root/bin/katago") in
  '') ;;
  "$root"/katago/* | "$linked") take "$root/bin/katago" ;;
esac
for path in "$root/katago" /var/lib/orchestrate.katago "$root/bin/katago.new"; do
  if [ -e "$path" ] || [ -L "$path" ]; then take "$path"; fi
done
[ "$really" = no ] || [ -z "$removed" ] || rmdir "$root/bin" 2>/dev/null
printf 'orchestrate:removed=%s\n' "${removed# }"
