# Which KataGo is there, one `orchestrate:KEY=VALUE` a line. Wants $root and $package (the name of a
# package, or nothing). Needs a POSIX shell; changes nothing.
# shellcheck shell=sh disable=SC2154
sys=${ORCHESTRATE_SYSROOT:-}
say() { printf 'orchestrate:%s=%s\n' "$1" "$2"; }
has() { if [ -e "$1" ]; then echo yes; else echo no; fi; }

say root "$(has "$root")"
# In KiB.
# shellcheck disable=SC2046 # two numbers
set -- $(stat -f -c '%a %S' "$root" 2>/dev/null)
say free $((${1:-0} * ${2:-0} / 1024))
link=$(readlink "$root/bin/katago")
say link "$link"
origin='' backend=''
case $link in
  "$root"/katago/*/katago)
    if [ -x "$link" ] && [ -r "${link%/*}/origin" ]; then
      { read -r origin && read -r backend; } <"${link%/*}/origin"
    fi
    ;;
esac
say origin "$origin"
say backend "$backend"

found=''
for candidate in "$(command -v katago)" /opt/katago/katago /opt/katago/bin/katago /usr/games/katago \
  /usr/local/bin/katago "$root/bin/katago"; do
  [ ! -x "$candidate" ] || found=$candidate
done
say found "$found"
packaged=''
if [ -n "$package" ]; then
  packaged=$(dpkg-query -L "$package" 2>/dev/null | grep '/katago$' | while read -r file; do
    if [ -f "$file" ] && [ -x "$file" ]; then
      echo "$file"
      break
    fi
  done)
fi
say packaged "$packaged"

icds=no
for icd in /etc/OpenCL/vendors/*.icd; do
  [ ! -e "$icd" ] || icds=yes
done
say icd $icds
loader=no
if /sbin/ldconfig -p 2>/dev/null | grep -q 'libOpenCL\.so\.1 '; then loader=yes; fi
say loader $loader
driver=no
if [ -e "$sys/proc/driver/nvidia/version" ] || [ -e "$sys/etc/nv_tegra_release" ]; then driver=yes; fi
say driver $driver
