# Ends what dpkg was cut off in, as when the power failed: apt installs nothing before. Wants
# $recorder, which vars/main.yml explains.
# shellcheck shell=sh disable=SC2154
export DEBIAN_FRONTEND=noninteractive
if [ -n "$(find /var/lib/dpkg/updates -name '[0-9]*' 2>/dev/null)" ]; then
  dpkg --force-confdef --force-confold --configure -a
  apt-get -y -q --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 \
    -o "DPkg::Options::=--status-logger=$recorder" -f install
fi >&2
