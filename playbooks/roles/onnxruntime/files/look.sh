# What the virtual environment holds, one `orchestrate:KEY=VALUE` a line. Wants $root and $python.
# Needs a POSIX shell; changes nothing, and starts Python only to ask its version.
# shellcheck shell=sh disable=SC2154
say() { printf 'orchestrate:%s=%s\n' "$1" "$2"; }
has() { if [ -e "$1" ]; then echo yes; else echo no; fi; }

version=$("$python" -V 2>/dev/null)
version=${version#Python }
minor=${version#3.}
version=3.${minor%%.*}
say python "$version"
say root "$(has "$root")"
# In KiB.
# shellcheck disable=SC2046 # two numbers
set -- $(stat -f -c '%a %S' "$root" 2>/dev/null)
say free $((${1:-0} * ${2:-0} / 1024))
say venv "$(has "$root/venv")"
say leftover "$(has "$root/venv.new")"
say certificates "$(has /etc/ssl/certs/ca-certificates.crt)"

pip=no
real=$(readlink -f "$python")
for wheel in /usr/share/python-wheels/pip-*.whl "${real%/bin/*}/lib/python$version"/ensurepip/_bundled/pip-*.whl; do
  [ ! -e "$wheel" ] || pip=yes
done
say pip $pip

mark='' distributions=''
if [ -x "$root/venv/bin/python3" ]; then
  if [ -e "$root/venv/orchestrate-requirements.txt" ]; then
    mark=$(sha256sum "$root/venv/orchestrate-requirements.txt")
    mark=${mark%% *}
  fi
  for info in "$root/venv/lib/python$version"/site-packages/*.dist-info; do
    distributions="$distributions ${info##*/}"
  done
fi
say mark "$mark"
say distributions "$distributions"

cudnn=no
if /sbin/ldconfig -p 2>/dev/null | grep -q 'libcudnn\.so'; then cudnn=yes; fi
say cudnn $cudnn
