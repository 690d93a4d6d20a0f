# Follows packages/files/record.sh.
# shellcheck shell=sh
export DEBIAN_FRONTEND=noninteractive
remember_packages || exit 1
apt-get update -q
apt-get install -y -q --no-install-recommends -o APT::Keep-Downloaded-Packages=false python3 python3-apt
status=$?
record_packages || exit 1
exit $status
