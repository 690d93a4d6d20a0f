# How the unit stands, one `service:KEY=VALUE` a line; changes nothing. Wants $name, $owner, $root
# and $groups.
# shellcheck shell=sh disable=SC2154
say() { printf 'service:%s=%s\n' "$1" "$2"; }
sum_of() { [ ! -r "$1" ] || sha256sum <"$1" | cut -d' ' -f1; }

say unit "$(sum_of "/etc/systemd/system/$name.service")"
say rule "$(sum_of "/etc/sudoers.d/$name-service")"
say systemctl "$(command -v systemctl)"
say enabled "$(systemctl is-enabled "$name.service" 2>/dev/null)"
if [ -x /usr/sbin/visudo ]; then say sudo yes; else say sudo no; fi
if [ -x "$root/current/run" ]; then say ready yes; else say ready no; fi

home=$(getent passwd "$owner" | cut -d: -f6)
say home "${home:-/home/$owner}"
found=
for group in $groups; do
  getent group "$group" >/dev/null && found=$found${found:+ }$group
done
say groups "$found"
