# What base looks after, one `base:KEY=VALUE` a line; changes nothing. Wants $login, $owner, $from
# (whom we are logged in as), $root and $groups.
# shellcheck shell=sh disable=SC2154
say() { printf 'base:%s=%s\n' "$1" "$2"; }
home_of() { getent passwd "$1" | cut -d: -f6; }
there() { id "$1" >/dev/null 2>&1 && echo yes || echo no; }

say owner "$(there "$owner")"
say owner_group "$(id -gn "$owner" 2>/dev/null)"
say login "$(there "$login")"
if grep -qx "$login" /var/lib/orchestrate/users 2>/dev/null; then say login_ours yes; else say login_ours no; fi
if [ -e "$(home_of "$login")/.ssh/authorized_keys" ]; then say login_keys yes; else say login_keys no; fi
if [ -s "$(home_of "$from")/.ssh/authorized_keys" ]; then say from_keys yes; else say from_keys no; fi
found=
for group in $groups; do
  getent group "$group" >/dev/null && found=$found${found:+,}$group
done
say groups "$found"

say root "$(stat -L -c '%U %a %F' "$root" 2>/dev/null)"

if [ -x /usr/sbin/visudo ]; then say sudo yes; else say sudo no; fi
say rule "$(grep -v '^#' /etc/sudoers.d/orchestrate 2>/dev/null)"

if [ -d /run/systemd/system ]; then
  say synchronised "$(timeout 10 timedatectl show -p NTPSynchronized --value 2>/dev/null)"
fi
say clock "$(date +%s)"
