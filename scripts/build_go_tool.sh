#!/usr/bin/env bash
# Build a command with the Go toolchain into .tools/bin, for the tests that need it:
#
#   build_go_tool.sh WHAT MODULE VERSION PACKAGE BINARY REQUIRED
#
# WHAT names it for people, PACKAGE is the command's import path, BINARY its name in .tools/bin.
# Without Go, or when the build fails, the tests that need it are skipped; with REQUIRED=1 that is
# an error instead.
set -euo pipefail

what=$1 module=$2 version=$3 package=$4 binary=$5 required=$6

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.tools/bin

# stop REASON: without the tool, go on or fail as asked.
stop() {
  if [ "$required" = 1 ]; then
    echo "$what is required, but $1" >&2
    exit 1
  fi
  echo "Going on without $what: $1" >&2
  exit 0
}

go=$(command -v go || true)
for candidate in /usr/local/go/bin/go /usr/lib/go/bin/go /opt/homebrew/bin/go; do
  [ -z "$go" ] && [ -x "$candidate" ] && go=$candidate
done
[ -n "$go" ] || stop "there is no Go toolchain on PATH to build it with."

# The package is built inside a throw-away module: that asks for the pinned version alone, where
# `go install package@version` also asks for the list of all versions. Checksums are verified alike.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$bin"
cd "$work"

echo "Building $what $version (a minute or two the first time)"
{
  "$go" mod init perdure.invalid/tools &&
    "$go" mod edit -require="$module@$version" &&
    CGO_ENABLED=0 GOBIN=$work/bin "$go" install -mod=mod -trimpath "$package"
} >"$work/log" 2>&1 || {
  tail -n 20 "$work/log" >&2
  stop "building it failed."
}
mv "$work"/bin/* "$bin/$binary"
"$bin/$binary" --version
