# Takes the service back. Wants $really (yes or no) and $name. Prints `service:removed=`, what went
# or would go.
# shellcheck shell=sh disable=SC2154
say() { printf 'service:%s=%s\n' "$1" "$2"; }
unit=/etc/systemd/system/$name.service
if [ -e "$unit" ]; then
  if [ "$really" = yes ]; then
    if [ -d /run/systemd/system ]; then systemctl stop "$name.service" || exit 1; fi
    systemctl disable "$name.service" 2>/dev/null
    rm -rf "$unit" "/var/cache/$name"
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  fi
  say removed "$unit"
fi
if [ -e "/etc/sudoers.d/$name-service" ]; then
  [ "$really" = no ] || rm -f "/etc/sudoers.d/$name-service" || exit 1
  say removed "/etc/sudoers.d/$name-service"
fi
exit 0
