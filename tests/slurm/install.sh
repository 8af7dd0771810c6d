#!/usr/bin/env bash
# Slurm and munge out of Debian's packages (13 MB), and a database for its accounts (193 MB), for the
# tests beside this file. Takes root.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --yes --quiet --quiet --no-install-recommends slurmctld slurmd slurm-client munge \
    slurmdbd mariadb-server
