# Wants $recorder, which packages/vars/main.yml explains.
# shellcheck shell=sh disable=SC2154
export DEBIAN_FRONTEND=noninteractive
# Machines upgrade themselves when they are first started.
apt-get update -q -o DPkg::Lock::Timeout=300
apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o APT::Keep-Downloaded-Packages=false \
  -o "DPkg::Options::=--status-logger=$recorder" python3 python3-apt
