# Takes back what base made. Wants $really and $purge (yes or no), $root and $from, whom we are
# logged in as. Prints `base:removed=`, what went or would go, and `base:kept=`, users that stay.
# shellcheck shell=sh disable=SC2154
state=/var/lib/orchestrate
say() { printf 'base:%s=%s\n' "$1" "$2"; }
take() { # path
  [ -e "$1" ] || [ -L "$1" ] || return 0
  [ "$really" = no ] || rm -rf "$1" || exit 1
  say removed "$1"
}
take_empty() { # folder
  [ -d "$1" ] && [ -z "$(ls -A "$1")" ] || return 0
  [ "$really" = no ] || rmdir "$1" || exit 1
  say removed "$1"
}
take_user() { # name
  id "$1" >/dev/null 2>&1 || return 0
  if [ "$1" = "$from" ]; then
    say kept "$1 is logged in"
    return 1
  fi
  [ "$really" = no ] || said=$(userdel -r "$1" 2>&1) || {
    id "$1" >/dev/null 2>&1 && say kept "$said" && return 1
  }
  say removed "user $1"
}

take /etc/sudoers.d/orchestrate
if [ "$purge" = yes ] && [ -d "$root" ]; then
  # What deploys put there, by name: the root may be a folder that holds other things too.
  for name in store releases current audit.log lock; do
    take "$root/$name"
  done
  for left in "$root"/.lock-*; do
    take "$left"
  done
fi
take_empty "$root/bin"
take_empty "$root"
if [ "$purge" = yes ] && [ -e "$state/users" ]; then
  users=$(cat "$state/users") left=
  for user in $users; do
    take_user "$user" || left="$left$user
"
  done
  if [ "$really" = yes ]; then
    if [ -n "$left" ]; then printf %s "$left" >"$state/users"; else rm -f "$state/users"; fi
  fi
fi
[ "$really" = no ] || rmdir "$state" 2>/dev/null
exit 0
