# What this Jetson is like now, as key=value lines. Changes nothing.
# Needs a POSIX sh and dpkg-query. Hardware is read below $sys, which is empty on a real board;
# $trtexec is where TensorRT's packages keep it.
# shellcheck shell=sh disable=SC2154

PATH=$PATH:/usr/sbin:/sbin

# "NV Power Mode: 25W", and its number in a line of its own.
if command -v nvpmodel >/dev/null; then
  echo nvpmodel=1
  timeout 20 nvpmodel -q 2>/dev/null </dev/null | while IFS= read -r line; do
    case $line in
      *'NV Power Mode:'*) echo "mode_name=${line##*: }" ;;
      [0-9] | [0-9][0-9]) echo "mode=$line" ;;
    esac
  done
fi

# < POWER_MODEL ID=0 NAME=MAXN >
modes=''
if [ -r "$sys/etc/nvpmodel.conf" ]; then
  while read -r bracket kind id name _; do
    [ "$bracket $kind" = '< POWER_MODEL' ] && modes="$modes ${id#ID=}:${name#NAME=}"
  done <"$sys/etc/nvpmodel.conf"
fi
echo "modes=${modes# }"

# shellcheck disable=SC2016 # dpkg-query fills these in
dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' \
  nvidia-jetpack 'libnvinfer[0-9]*' libnvinfer-bin 2>/dev/null </dev/null |
  while read -r status package version; do
    [ "$status" = installed ] || continue
    case $package in
      nvidia-jetpack) echo "jetpack=$version" ;;
      libnvinfer-bin) echo "tools=$version" ;;
      libnvinfer[0-9] | libnvinfer[0-9][0-9]) echo "tensorrt=$version" ;;
    esac
  done

[ -x "$trtexec" ] && echo trtexec=1
link=/usr/local/bin/trtexec
if [ -h "$link" ] && [ "$(readlink "$link")" = "$trtexec" ]; then
  echo link=ours
elif [ -e "$link" ] || [ -h "$link" ]; then
  echo link=foreign
fi
former=''
[ -r /var/lib/orchestrate/jetson_power_mode ] && read -r former </var/lib/orchestrate/jetson_power_mode
echo "former=$former"

while read -r key value _; do
  case $key in
    MemTotal:) echo "memory_mib=$((value / 1024))" ;;
  esac
done <"$sys/proc/meminfo"

disk=0
if [ -r "$sys/proc/swaps" ]; then
  while read -r name _ size _; do
    case $name in
      Filename | */zram*) ;;
      *) disk=$((disk + size / 1024)) ;;
    esac
  done <"$sys/proc/swaps"
fi
echo "swap_mib=$disk"
