#!/usr/bin/env bash
# Remove what make and the tools made; everything that git tracks stays.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
rm -rf "${VENV:-.venv}" .tools build dist site htmlcov
rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
find . -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
