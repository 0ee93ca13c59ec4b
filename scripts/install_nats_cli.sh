#!/usr/bin/env bash
# The `nats` command line tool in .tools/bin; PERDURE_REQUIRE_NATS_CLI=1 fails without it.
set -euo pipefail

version=v0.4.0
module=github.com/nats-io/natscli
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

[ "$("$here/../.tools/bin/nats" --version 2>/dev/null)" = "$version" ] && exit 0
exec "$here/build_go_tool.sh" "the nats CLI" "$module" "$version" "$module/nats" nats \
  "${PERDURE_REQUIRE_NATS_CLI:-0}"
