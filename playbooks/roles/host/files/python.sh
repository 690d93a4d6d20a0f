# Follows packages/files/record.sh.
# shellcheck shell=sh
export DEBIAN_FRONTEND=noninteractive
remember_packages || exit 1
# Machines upgrade themselves when they are first started.
apt-get update -q -o DPkg::Lock::Timeout=300
apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o APT::Keep-Downloaded-Packages=false python3 python3-apt
status=$?
record_packages || exit 1
exit $status
