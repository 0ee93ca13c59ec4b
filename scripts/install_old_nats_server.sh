#!/usr/bin/env bash
# Build a nats-server that is too old for perdure into .tools/bin, for the tests of how it is refused.
#
# Without Go, or when the build fails, those tests are skipped; with PERDURE_REQUIRE_OLD_SERVER=1
# that is an error instead.
set -euo pipefail

version=v2.12.1
package=github.com/nats-io/nats-server/v2

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.tools/bin

# stop REASON: without the server, go on or fail as asked.
stop() {
  if [ "${PERDURE_REQUIRE_OLD_SERVER:-0}" = 1 ]; then
    echo "An old nats-server is required (PERDURE_REQUIRE_OLD_SERVER=1), but $1" >&2
    exit 1
  fi
  echo "Going on without an old nats-server: $1" >&2
  exit 0
}

if [ "$("$bin/nats-server-old" --version 2>/dev/null)" = "nats-server: $version" ]; then
  exit 0
fi

go=$(command -v go || true)
for candidate in /usr/local/go/bin/go /usr/lib/go/bin/go /opt/homebrew/bin/go; do
  [ -z "$go" ] && [ -x "$candidate" ] && go=$candidate
done
[ -n "$go" ] || stop "there is no Go toolchain on PATH to build it with."

# As in install_nats_cli.sh: a throw-away module asks for the pinned version alone.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$bin"
cd "$work"

echo "Building nats-server $version (a minute the first time)"
{
  "$go" mod init perdure.invalid/tools &&
    "$go" mod edit -require="$package@$version" &&
    CGO_ENABLED=0 GOBIN=$work/bin "$go" install -mod=mod -trimpath "$package"
} >"$work/log" 2>&1 || {
  tail -n 20 "$work/log" >&2
  stop "building it failed."
}
mv "$work/bin/nats-server" "$bin/nats-server-old"
"$bin/nats-server-old" --version
