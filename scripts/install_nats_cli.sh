#!/usr/bin/env bash
# Build the `nats` command line tool into .tools/bin with the Go toolchain.
#
# Without Go, or when the build fails, the tests that need the tool are skipped; with
# PERDURE_REQUIRE_NATS_CLI=1 that is an error instead.
set -euo pipefail

version=v0.4.0
package=github.com/nats-io/natscli

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.tools/bin

# stop REASON: without the tool, go on or fail as asked.
stop() {
  if [ "${PERDURE_REQUIRE_NATS_CLI:-0}" = 1 ]; then
    echo "The nats CLI is required (PERDURE_REQUIRE_NATS_CLI=1), but $1" >&2
    exit 1
  fi
  echo "Going on without the nats CLI: $1" >&2
  exit 0
}

if [ "$("$bin/nats" --version 2>/dev/null)" = "$version" ]; then
  exit 0
fi

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

echo "Building the nats CLI $version (a minute or two the first time)"
{
  "$go" mod init perdure.invalid/tools &&
    "$go" mod edit -require="$package@$version" &&
    CGO_ENABLED=0 GOBIN=$work/bin "$go" install -mod=mod -trimpath "$package/nats"
} >"$work/log" 2>&1 || {
  tail -n 20 "$work/log" >&2
  stop "building it failed."
}
mv "$work/bin/nats" "$bin/nats"
"$bin/nats" --version
