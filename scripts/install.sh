#!/usr/bin/env bash
# Install perdure, editable, into .venv: install.sh STAMP EXTRAS
#
# Makes the environment if it is missing, broken or older than the project supports, and touches
# STAMP when all went well.
set -euo pipefail

stamp=$1
extras=$2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${VENV:-.venv}

if ! "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
  python=$(scripts/find_python.sh)
  echo "Making $venv with $("$python" -V)"
  "$python" -m venv --clear "$venv"
fi

# What is installed stays, so that a change of one extra takes seconds.
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet -e ".[$extras]"
touch "$stamp"
