# What of GPUs and Docker is on this host, as key=value lines. Changes nothing.
# Needs a POSIX sh. Hardware is read below $sys, which is empty on a real host; $login is the user
# who logs in, $keyring and $source are the files that the role writes.
# shellcheck shell=sh disable=SC2154

PATH=$PATH:/usr/sbin:/sbin

cards='' nouveau=''
for device in "$sys"/sys/bus/pci/devices/*; do
  [ -r "$device/vendor" ] && [ -r "$device/class" ] && [ -r "$device/device" ] || continue
  read -r vendor <"$device/vendor"
  read -r class <"$device/class"
  read -r id <"$device/device"
  case $vendor$class in
    0x10de0x03*) ;;
    *) continue ;;
  esac
  address=${device##*/}
  name=''
  if [ -z "$sys" ] && command -v lspci >/dev/null; then
    name=$(lspci -s "$address" 2>/dev/null)
    name=${name#*: }
  fi
  cards="$cards${cards:+, }${name:-PCI device 10de:${id#0x}} at $address"
done
echo "cards=$cards"
[ -d "$sys/sys/module/nouveau" ] && nouveau=1
echo "nouveau=$nouveau"

# NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024
if [ -r "$sys/proc/driver/nvidia/version" ]; then
  read -r line <"$sys/proc/driver/nvidia/version"
  set -f
  for word in $line; do
    case $word in
      [0-9]*.[0-9]*)
        echo "driver=$word"
        break
        ;;
    esac
  done
  set +f
elif [ -z "$sys" ] && command -v modinfo >/dev/null; then
  echo "module=$(modinfo -F version nvidia 2>/dev/null)"
fi

command -v nvidia-smi >/dev/null && echo smi=1
if command -v dockerd >/dev/null || [ -S /run/docker.sock ]; then
  echo docker=1
fi
case " $(id -nG "$login" 2>/dev/null) " in
  *' docker '*) echo in_group=1 ;;
esac
command -v nvidia-ctk >/dev/null && echo toolkit=1
# nvidia-ctk writes the path of nvidia-container-runtime.
grep -qs nvidia-container-runtime /etc/docker/daemon.json && echo runtime=1

if [ -e "$keyring" ]; then
  key=$(sha256sum "$keyring")
  echo "key=${key%% *}"
fi
[ -e "$source" ] && echo source=1
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
  [ "$file" = "$source" ] && continue
  grep -qs '^[^#]*libnvidia-container' "$file" && echo "foreign_source=$file"
done

[ -r /var/lib/orchestrate/docker_runtime ] && read -r runtime </var/lib/orchestrate/docker_runtime &&
  echo "our_runtime=$runtime"
[ -r /var/lib/orchestrate/docker_group ] && read -r user </var/lib/orchestrate/docker_group &&
  echo "our_member=$user"
true
