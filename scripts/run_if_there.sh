#!/usr/bin/env bash
# Run a Python file of the project if this release has it: run_if_there.sh TARGET FILE [ARGUMENT …]
set -euo pipefail

target=$1
file=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ ! -f "$file" ]; then
  echo "make $target arrives in a later release: $file isn't part of this one." >&2
  exit 1
fi
exec "${VENV:-.venv}/bin/python" "$file" "$@"
