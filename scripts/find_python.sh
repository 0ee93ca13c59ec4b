#!/usr/bin/env bash
# Print the path of a Python that can build the environment, or say what to install and fail.
#
# Order: $PYTHON; pyenv (the version in .python-version first); uv; names on PATH.
# A candidate counts if it runs, is at least 3.12 and can make a virtual environment with pip.
set -u

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minimum="3.12"
seen=""

probe='
import sys
if sys.version_info < (3, 12):
    sys.exit("is Python %d.%d" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit("has no module %r (on Debian and Ubuntu: apt install python3-venv)" % error.name)
print(sys.executable)
'

# try CANDIDATE: print it and leave the script if it is good; else remember why it isn't.
try() {
  local found reason
  found=$(command -v -- "$1" 2>/dev/null) || return 0
  reason=$("$found" -c "$probe" 2>&1)
  if [ $? -eq 0 ]; then
    printf '%s\n' "$reason"
    exit 0
  fi
  seen+="  $found $(printf '%s' "$reason" | tail -n 1)"$'\n'
}

if [ -n "${PYTHON:-}" ]; then
  try "$PYTHON"
  printf 'PYTHON=%s cannot be used: perdure needs Python %s or newer, with venv and pip.\n%s' \
    "$PYTHON" "$minimum" "$seen" >&2
  exit 1
fi

pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
if [ -d "$pyenv_root/versions" ]; then
  wanted=$(head -n 1 "$root/.python-version" 2>/dev/null | tr -d '[:space:]')
  for pattern in "${wanted:-3.13}" "${wanted:-3.13}.*" "3.13.*" "3.12.*" "3.1[4-9].*"; do
    # The newest patch release first; a version's name holds no space.
    for name in $(cd "$pyenv_root/versions" && compgen -G "$pattern" | sort -t. -k3,3nr); do
      try "$pyenv_root/versions/$name/bin/python"
    done
  done
fi

if command -v uv >/dev/null 2>&1; then
  for request in 3.13 3.12 ">=$minimum"; do
    found=$(uv python find --no-project --no-python-downloads "$request" 2>/dev/null) && try "$found"
  done
fi

for name in python3.13 python3.12 python3 python python3.14 python3.15; do
  try "$name"
done

{
  printf 'No suitable Python found: perdure needs Python %s or newer, with venv and pip.\n' "$minimum"
  [ -n "$seen" ] && printf 'Looked at:\n%s' "$seen"
  printf 'Install one, for example with one of:\n'
  printf '  pyenv install %s\n' "$(cat "$root/.python-version" 2>/dev/null || echo 3.13)"
  printf '  uv python install 3.13\n'
  printf '  apt install python3.13 python3.13-venv   (or brew install python@3.13)\n'
  printf 'or name it: make install PYTHON=/path/to/python3.13\n'
} >&2
exit 1
