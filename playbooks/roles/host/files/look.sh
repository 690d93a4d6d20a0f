# What the host is, one `orchestrate:KEY=VALUE` a line. Wants $login, $owner and $root as the
# inventory has them. Needs a POSIX shell and nothing else; changes nothing. What identifies the
# hardware is read below $ORCHESTRATE_SYSROOT, so that a board can be simulated.
# shellcheck shell=sh disable=SC2154
sys=${ORCHESTRATE_SYSROOT:-}
say() { printf 'orchestrate:%s=%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }
yes_if() {
  key=$1
  shift
  if "$@"; then say "$key" yes; else say "$key" no; fi
}
content() { [ ! -r "$1" ] || tr '\0' ' ' <"$1" 2>/dev/null; }
passwd_of() { # user
  if has getent; then getent passwd "$1"; else grep "^$1:" /etc/passwd; fi
}

user=$(id -un)
: "${login:=$user}"
: "${owner:=$login}"
entry=$(passwd_of "$owner")
home=${entry%:*}
home=${home##*:}
[ -n "$entry" ] || case $owner in
  root) home=/root ;;
  *) home=/home/$owner ;;
esac
# shellcheck disable=SC2088 # as the inventory has it, for us to expand
case $root in
  '') if [ "$owner" = root ]; then root=/opt/orchestrate; else root=$home/.local/share/orchestrate; fi ;;
  '~') root=$home ;;
  '~/'*) root=$home/${root#'~/'} ;;
esac
root=${root%/}

say uid "$(id -u)"
say user "$user"
say login "$login"
say owner "$owner"
say root "$root"
say home "${entry:+$home}"
say sysroot "$sys"

arch=$(uname -m)
# A 32-bit userland on a 64-bit ARM kernel.
if [ "$arch" = aarch64 ] && [ -e /lib/ld-linux-armhf.so.3 ] && [ ! -e /lib/ld-linux-aarch64.so.1 ]; then
  arch=armv7l
fi
say arch "$arch"

ID='' VERSION_ID='' PRETTY_NAME=''
for release in /etc/os-release /usr/lib/os-release; do
  if [ -r $release ]; then
    # shellcheck disable=SC1090
    . $release
    break
  fi
done
say distribution "$ID"
say version "$VERSION_ID"
say name "$PRETTY_NAME"

model=$(content "$sys/proc/device-tree/model")
compatible=$(content "$sys/proc/device-tree/compatible")
board=generic
case "$model $compatible" in
  *[Rr]aspberry\ [Pp]i* | *raspberrypi,*) board=raspberry-pi ;;
  *[Jj]etson* | *nvidia,tegra*) board=jetson ;;
esac
[ ! -e "$sys/etc/nv_tegra_release" ] || board=jetson
say board "$board"
model=${model% }
if [ -z "$model" ]; then
  model="$(content "$sys/sys/devices/virtual/dmi/id/sys_vendor") $(content "$sys/sys/devices/virtual/dmi/id/product_name")"
fi
# shellcheck disable=SC2086 # what stands between the words is of no interest
say model "$(set -f && echo $model)"

nvidia_display() {
  for device in "$sys"/sys/bus/pci/devices/*; do
    [ -r "$device/class" ] || continue
    case "$(content "$device/vendor")$(content "$device/class")" in
      0x10de*0x03*) return 0 ;;
    esac
  done
  return 1
}
yes_if nvidia nvidia_display
yes_if python test -x /usr/bin/python3
yes_if python_apt test -e /usr/lib/python3/dist-packages/apt
yes_if sudo has sudo
yes_if systemd test -d /run/systemd/system
