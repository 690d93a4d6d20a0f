# Makes ROOT/venv of the requirements that come on stdin, after a line with a package index and one
# with an extra index, each of which may be empty: a new one is made beside it, proven, and then takes
# its place, so that a failure leaves the old one as it was. Wants $root and $python. File descriptor 8
# is an archive of wheels, or empty.
# shellcheck shell=sh disable=SC2154
set -eu
umask 022
complain() {
  printf 'ERROR: %s\n' "$1" >&2
  exit 1
}
# A URL may hold what nobody else is to see in the list of processes.
IFS= read -r index && IFS= read -r extra
[ -z "$index" ] || export PIP_INDEX_URL="$index"
[ -z "$extra" ] || export PIP_EXTRA_INDEX_URL="$extra"
new=$root/venv.new
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
exec 9<"$root"
flock -w 600 9 || complain "another installation has been going on in $root for ten minutes"
rm -rf "$new" "$root/venv.old"
mkdir "$new"

# Without a pip of its own, which nobody needs there later: the one that Debian has for making
# virtual environments installs from where it lies. Before 20.3 pip does not know today's wheels.
"$python" -m venv --without-pip --prompt venv "$new"
cat >"$new/orchestrate-requirements.txt"
export TMPDIR="$new/tmp"
mkdir "$TMPDIR"
if [ -s /dev/fd/8 ]; then
  mkdir "$TMPDIR/wheels"
  tar -C "$TMPDIR/wheels" -xf - <&8
  set -- "$@" --no-index --find-links "$TMPDIR/wheels"
fi
pip=
real=$(readlink -f "$python")
for wheel in /usr/share/python-wheels/pip-*.whl "${real%/bin/*}"/lib/python3*/ensurepip/_bundled/pip-*.whl; do
  case ${wheel##*/} in
    pip-20.[012]* | pip-1*.* | 'pip-*.whl') ;;
    *) [ ! -e "$wheel" ] || pip=$wheel ;;
  esac
done
if [ -n "$pip" ]; then
  export PYTHONPATH="$pip"
else
  "$python" -m venv --prompt venv "$new"
  "$new/bin/python3" -m pip install --quiet --disable-pip-version-check "$@" 'pip>=20.3,<25.1'
fi
# Compiling every file takes longer than all the rest on a small board; what is imported is compiled
# by the proof below.
"$new/bin/python3" -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-input \
  --only-binary :all: --no-compile "$@" -r "$new/orchestrate-requirements.txt"
unset PYTHONPATH

# ONNX Runtime since 1.29 tells Microsoft which nets it loads, unless this is set.
for packages in "$new"/lib/python3*/site-packages; do
  printf 'import os; os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")\n' >"$packages/no-telemetry.pth"
done

status=0
said=$("$new/bin/python3" -c 'import numpy, onnxruntime' 2>&1) || status=$?
[ $status -le 128 ] || said="it was killed by signal $((status - 128))"
[ $status -eq 0 ] ||
  complain "the wheels are installed, but cannot be imported: $(printf '%s\n' "$said" | tail -n 1)"

rm -rf "$TMPDIR"
grep -lIF "$new" "$new/pyvenv.cfg" "$new"/bin/* | xargs -r sed -i "s|$new|$root/venv|g"
if [ -e "$root/venv" ]; then
  old=$root/venv.old
  if [ ! -e "$root/venv/orchestrate-requirements.txt" ]; then
    old=$root/venv.before-$(date +%Y%m%d-%H%M%S)
    printf 'orchestrate:kept=%s\n' "$old"
  fi
  mv -T "$root/venv" "$old"
fi
mv -T "$new" "$root/venv"
rm -rf "$root/venv.old"
