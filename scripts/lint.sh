#!/usr/bin/env bash
# All static checks. Every one runs, so that one look shows everything; any finding fails.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${VENV:-.venv}/bin
failed=()

check() {
  local name=$1
  shift
  echo "==> $name"
  "$@" || failed+=("$name")
}

check "format" "$bin/ruff" format --check .
check "lint" "$bin/ruff" check .
check "core bans" "$bin/python" scripts/check_core_bans.py
check "types" "$bin/pyright"
check "imports" "$bin/lint-imports" --no-logo

if [ ${#failed[@]} -gt 0 ]; then
  printf 'Failed: %s\n' "$(IFS=,; echo "${failed[*]}")" >&2
  exit 1
fi
echo "All checks passed."
