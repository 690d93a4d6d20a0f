# What this host is: prints what `orchestrator.fleet.probe` reads, changes nothing.
#
#   probe ROOT PYTHON [now]
#
# ROOT may not exist yet. An empty PYTHON means ROOT/venv/bin/python3, else python3 on the PATH.
# With `now` it reads only what changes by the minute: load, temperatures, throttling.
# Output, between two marker lines: files as `head` prints several of them, then `key=value` lines
# in any order; a program's output has one line for each of its own. Anything else is noise.
#
# Needs a POSIX sh, head, date, stat or df, and before Linux 6.1 uname; every other program may be
# missing, fail or hang. What identifies the hardware is read below $ORCHESTRATE_SYSROOT, so that a
# board can be simulated. A process costs more than all the reading, hence one `head` for all files
# and no pipelines; what may be slow runs side by side at the end.
# shellcheck shell=sh

probe() (
  set +efu
  root=$1 python=$2 asked=${3:-all} sys=${ORCHESTRATE_SYSROOT:-}
  newline='
'
  has() { command -v "$1" >/dev/null 2>&1; }

  # limited SECONDS COMMAND...: only to be called where the shell may be replaced.
  limited() {
    if has timeout; then
      exec timeout -s KILL "$@" </dev/null 2>/dev/null
    fi
    shift
    exec "$@" </dev/null 2>/dev/null
  }

  # tell KEY TEXT: each line carries its key, so that programs side by side do not mix.
  tell() {
    key=$1
    set -f
    IFS=$newline
    # shellcheck disable=SC2086 # split at newlines is what is wanted
    set -- $2
    unset IFS
    set +f
    [ $# -eq 0 ] || printf "$key=%s\n" "$@"
  }

  # ask KEY SECONDS COMMAND...: the output of COMMAND under KEY, and its exit status if not 0.
  ask() {
    topic=$1
    shift
    answer=$(limited "$@")
    status=$?
    tell "$topic" "$answer"
    [ $status -eq 0 ] || printf 'status=%s %s\n' "$topic" "$status"
    return $status
  }

  # on_path NAME: sets `found` to where the PATH has it.
  on_path() {
    found=
    has "$1" && found=$(command -v "$1")
  }

  # first PATH...: sets `found` to the first that is a program.
  first() {
    found=
    for candidate; do
      if [ -f "$candidate" ] && [ -x "$candidate" ]; then
        found=$candidate
        return 0
      fi
    done
    return 1
  }

  files() {
    set -- "$sys"/proc/cpuinfo "$sys"/proc/meminfo "$sys"/proc/self/status "$sys"/proc/loadavg \
      "$sys"/proc/sys/kernel/ostype "$sys"/proc/sys/kernel/osrelease "$sys"/proc/sys/kernel/arch \
      "$sys"/sys/devices/system/cpu/online \
      "$sys"/sys/fs/cgroup/cpu.max "$sys"/sys/fs/cgroup/memory.max \
      "$sys"/sys/fs/cgroup/cpu/cpu.cfs_quota_us "$sys"/sys/fs/cgroup/cpu/cpu.cfs_period_us \
      "$sys"/sys/fs/cgroup/memory/memory.limit_in_bytes \
      "$sys"/proc/device-tree/model "$sys"/proc/device-tree/compatible \
      "$sys"/sys/devices/virtual/dmi/id/sys_vendor \
      "$sys"/sys/devices/virtual/dmi/id/product_name \
      "$sys"/etc/nv_tegra_release \
      "$sys"/usr/local/cuda/version.json "$sys"/usr/local/cuda/version.txt \
      "$sys"/proc/driver/nvidia/version "$sys"/proc/driver/nvidia/gpus/*/information \
      "$sys"/sys/class/thermal/thermal_zone*/type "$sys"/sys/class/thermal/thermal_zone*/temp \
      "$sys"/sys/devices/platform/soc*/soc*firmware/get_throttled
    if [ -e "$sys/etc/os-release" ]; then
      set -- "$@" "$sys/etc/os-release"
    else
      set -- "$@" "$sys/usr/lib/os-release"
    fi
    head -n 80 /dev/null "$@" 2>/dev/null </dev/null
  }

  disk() {
    case $root in
      /*) dir=$root ;;
      *) dir=./$root ;;
    esac
    while [ ! -e "$dir" ]; do
      dir=${dir%/*}
      [ -n "$dir" ] || dir=/
    done
    writable=0
    [ -d "$dir" ] && [ -w "$dir" ] && [ -x "$dir" ] && writable=1
    printf 'writable=%s\n' $writable
    free=$(exec stat -f -c '%a %S %d %c' "$dir" 2>/dev/null) && tell statfs "$free" && return
    tell df "$(exec df -Pk "$dir" 2>/dev/null)"
  }

  libc() {
    if has getconf; then
      tell libc "$(exec getconf GNU_LIBC_VERSION 2>/dev/null)"
    fi
    for loader in "$sys"/lib/ld-musl-*.so.1; do
      [ -x "$loader" ] && tell musl "$(exec "$loader" 2>&1 </dev/null)"
    done
    for loader in "$sys"/lib/ld-linux-*.so.* "$sys"/lib64/ld-linux-*.so.*; do
      [ -e "$loader" ] && printf 'loader=%s\n' "${loader##*/}"
    done
  }

  # Services of the host's own; one that is masked is a link to /dev/null, and is not told.
  units() {
    for unit in "$sys"/etc/systemd/system/*.service; do
      [ -f "$unit" ] && printf 'unit=%s\n' "${unit##*/}"
    done
  }

  # Distributions below a folder, without starting Python: NAME-VERSION.dist-info or .egg-info.
  packages_below() {
    for info in "$1"/onnxruntime*-info "$1"/numpy-*-info "$1"/tensorrt_rtx*-info; do
      [ -e "$info" ] && printf 'package=%s\n' "${info##*/}"
    done
    for library in "$1"/onnxruntime/capi/libonnxruntime_providers_*.so; do
      [ -e "$library" ] && printf 'provider=%s\n' "${library##*/}"
    done
  }

  python_facts() {
    if [ -z "$python" ]; then
      first "$root/venv/bin/python3" && python=$found
    fi
    [ -n "$python" ] || python=$(command -v python3) || return
    case $python in
      */*) ;;
      *) python=$(command -v "$python") || return ;;
    esac
    version=$("$python" -V 2>&1 </dev/null) || return
    case $version in
      "Python 3."*) version=${version#Python } ;;
      *) return ;;
    esac
    printf 'python=%s\npython_version=%s\n' "$python" "$version"
    minor=${version#3.}
    lib=python3.${minor%%.*}
    prefix=${python%/bin/*}
    system=$prefix own=1
    if [ -r "$prefix/pyvenv.cfg" ]; then
      own=0
      while IFS=' =' read -r key value; do
        case $key in
          home) system=${value%/bin} ;;
          include-system-site-packages) [ "$value" = true ] && own=1 ;;
        esac
      done <"$prefix/pyvenv.cfg"
      packages_below "$prefix/lib/$lib/site-packages"
      packages_below "$prefix/lib64/$lib/site-packages"
    fi
    [ $own -eq 0 ] && return
    if [ "$python" != "$prefix/bin/${python##*/}" ] || [ ! -e "$system/lib/$lib/os.py" ] ||
      [ -n "${PYTHONPATH:-}" ]; then
      python_asked &
      return
    fi
    [ -n "${HOME:-}" ] && packages_below "$HOME/.local/lib/$lib/site-packages"
    [ "$system" = /usr ] && packages_below "/usr/local/lib/$lib/dist-packages"
    packages_below "$system/lib/$lib/site-packages"
    packages_below "$system/lib64/$lib/site-packages"
    packages_below "$system/lib/$lib/dist-packages"
    packages_below "$system/lib/python3/dist-packages"
  }

  # A Python that keeps its packages in no usual place tells itself; onnxruntime is not imported.
  python_asked() {
    ask python_report 20 "$python" -c '
import glob, importlib.metadata, importlib.util, os
for found in importlib.metadata.distributions():
    name = found.metadata["Name"] or ""
    if name == "numpy" or name.startswith(("onnxruntime", "tensorrt_rtx", "tensorrt-rtx")):
        print("package=%s-%s.dist-info" % (name, found.version))
spec = importlib.util.find_spec("onnxruntime")
if spec and spec.origin:
    capi = os.path.join(os.path.dirname(spec.origin), "capi")
    for path in glob.glob(os.path.join(capi, "libonnxruntime_providers_*.so")):
        print("provider=" + os.path.basename(path))
'
  }

  find_katago() {
    first "$root/bin/katago" || on_path katago ||
      first "$sys/opt/katago/katago" "$sys/opt/katago/bin/katago" "$sys/usr/games/katago" \
        "$sys/usr/local/bin/katago" "${HOME:-}/katago/katago" "${HOME:-}/katago" || return
    printf 'katago_path=%s\n' "$found"
    ask katago 20 "$found" version &
  }

  # A driver refuses a whole query for one field that it does not know, and names the field:
  # compute_cap came with 510, clocks_throttle_reasons became clocks_event_reasons.
  gpus() {
    capability=,compute_cap
    reasons=,clocks_throttle_reasons.active
    for _ in 1 2 3 4; do
      ask nvidia_smi 15 nvidia-smi --format=csv,nounits \
        --query-gpu="name,memory.total,driver_version,temperature.gpu$capability$reasons" && return
      case $answer in
        *compute_cap*'not a valid field'*) capability='' ;;
        *clocks_throttle*'not a valid field'*) reasons=,clocks_event_reasons.active ;;
        *clocks_event*'not a valid field'*) reasons='' ;;
        *) return ;;
      esac
    done
  }

  # trtexec loads all of TensorRT to tell its version, the package database is quicker.
  nvidia_software() {
    if has dpkg-query; then
      # shellcheck disable=SC2016 # dpkg-query fills these in
      ask dpkg 20 dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' \
        nvidia-jetpack nvidia-l4t-core tensorrt 'libnvinfer[0-9]*'
    fi
    case $answer in
      *' libnvinfer'* | *' tensorrt '*) ;;
      *) [ -z "$trtexec" ] || ask trtexec 30 "$trtexec" --help ;;
    esac
  }

  tegrastats_line() {
    limited 3 tegrastats --interval 100 | {
      IFS= read -r line && tell tegrastats "$line"
    }
  }

  # In the background: sensors may answer slowly.
  sensors() {
    if has nvidia-smi; then gpus & fi
    if has vcgencmd; then
      { ask vcgencmd 5 vcgencmd measure_temp && ask vcgencmd 5 vcgencmd get_throttled; } &
    fi
    if has tegrastats; then tegrastats_line & fi
  }

  software() {
    answer='' trtexec=''
    find_katago
    if on_path trtexec ||
      first "$sys/usr/src/tensorrt/bin/trtexec" "$sys/opt/tensorrt/bin/trtexec"; then
      trtexec=$found
      printf 'trtexec_path=%s\n' "$trtexec"
    fi
    if [ -n "$trtexec" ] || [ -e "$sys/etc/nv_tegra_release" ] || has nvidia-smi; then
      nvidia_software &
      [ -e "$sys/usr/local/cuda/version.json" ] || [ -e "$sys/usr/local/cuda/version.txt" ] ||
        { has nvcc && ask nvcc 10 nvcc --version & }
    fi
    if has docker; then ask docker 10 docker --version & fi
    python_facts
  }

  printf '@orchestrate-probe 1\n'
  files
  printf '\n@values\nsysroot=%s\n' "$sys"
  tell clock "$(exec date +%s)"
  if [ "$asked" = now ]; then
    sensors
  else
    [ -r "$sys/proc/sys/kernel/arch" ] || tell uname "$(exec uname -s -r -m)"
    disk
    libc
    units
    sensors
    software
  fi
  wait
  printf '@orchestrate-probe end\n'
)
