# What this Raspberry Pi is like now, as key=value lines. Changes nothing.
# Needs a POSIX sh. Hardware is read below $sys, which is empty on a real board.
# shellcheck shell=sh disable=SC2154

governors='' settable=''
for file in "$sys"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do
  [ -r "$file" ] || continue
  read -r governor <"$file"
  case " $governors " in
    *" $governor "*) ;;
    *) governors="$governors${governors:+ }$governor" ;;
  esac
  [ -w "$file" ] && settable=1
done
offered=''
file=$sys/sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors
[ -r "$file" ] && read -r offered <"$file"
printf 'governors=%s\nsettable=%s\noffered=%s\n' "$governors" "$settable" "$offered"

former=''
[ -r /var/lib/orchestrate/governor ] && read -r former </var/lib/orchestrate/governor
printf 'former=%s\n' "$former"
[ -e /etc/systemd/system/orchestrate-governor.service ] && echo unit=1
[ -h /etc/systemd/system/multi-user.target.wants/orchestrate-governor.service ] && echo enabled=1

celsius=0
for file in "$sys"/sys/class/thermal/thermal_zone*/temp; do
  [ -r "$file" ] && read -r milli <"$file" 2>/dev/null || continue
  [ $((milli / 1000)) -le $celsius ] || celsius=$((milli / 1000))
done
echo "celsius=$celsius"

# The driver of the firmware has the word in sysfs, without 0x; else the firmware is asked.
throttled=''
for file in "$sys"/sys/devices/platform/soc*/soc*firmware/get_throttled; do
  [ -r "$file" ] && read -r throttled <"$file" 2>/dev/null
done
if [ -z "$throttled" ] && command -v vcgencmd >/dev/null; then
  throttled=$(vcgencmd get_throttled 2>/dev/null </dev/null)
fi
throttled=${throttled#throttled=}
throttled=${throttled#0x}
case $throttled in
  '' | *[!0-9a-fA-F]*) echo throttled=unknown ;;
  *)
    # Bits 0-3: under-voltage, frequency capped, throttled, soft temperature limit; all of them now,
    # and 16 bits higher since the start.
    # www.raspberrypi.com/documentation/computers/os.html#get_throttled
    bits=$((0x$throttled))
    told() {
      if [ $((bits & $2)) -ne 0 ]; then
        echo "$1=now"
      elif [ $((bits & ($2 << 16))) -ne 0 ]; then
        echo "$1=since the start"
      fi
    }
    told low_voltage 1
    told slowed 6
    # Under-voltage lowers the clock as heat does, and sets the same bits.
    if [ $((bits & 0x10001)) -ne 0 ]; then told heat 8; else told heat 14; fi
    ;;
esac

while read -r key value _; do
  case $key in
    MemTotal:) echo "memory_mib=$((value / 1024))" ;;
    SwapTotal:) echo "swap_mib=$((value / 1024))" ;;
  esac
done <"$sys/proc/meminfo"
if [ -r "$sys/proc/swaps" ]; then
  while read -r name _; do
    case $name in
      */zram*) echo zram=1 ;;
    esac
  done <"$sys/proc/swaps"
fi

kernel=$(uname -m)
[ -r "$sys/proc/sys/kernel/arch" ] && read -r kernel <"$sys/proc/sys/kernel/arch"
echo "kernel=$kernel"
if [ -e "$sys/lib/ld-linux-aarch64.so.1" ]; then
  echo userland=64
elif [ -e "$sys/lib/ld-linux-armhf.so.3" ]; then
  echo userland=32
fi
