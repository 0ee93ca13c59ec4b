#!/usr/bin/env bash
# A nats-server that is too old for perdure in .tools/bin, for the tests of how it is refused;
# PERDURE_REQUIRE_OLD_SERVER=1 fails without it.
set -euo pipefail

version=v2.12.1
module=github.com/nats-io/nats-server/v2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

[ "$("$here/../.tools/bin/nats-server-old" --version 2>/dev/null)" = "nats-server: $version" ] && exit 0
exec "$here/build_go_tool.sh" "an old nats-server" "$module" "$version" "$module" nats-server-old \
  "${PERDURE_REQUIRE_OLD_SERVER:-0}"
