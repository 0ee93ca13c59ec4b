"""Room in the store, as JetStream tells an account: what it uses, and its own limit.

The server's ``max_file_store`` is not told to accounts. Where it is the only limit, an operator has to
say it once more.
"""

from typing import Any, cast

from perdure.adapters.jetstream.link import Link
from perdure.ports.capacity import Usage


class JetStreamCapacity:
    """The Capacity port. ``limit``: bytes that an operator gives the account, 0 for none."""

    def __init__(self, link: Link, *, replicas: int = 1, limit: int = 0) -> None:
        self._link = link
        self._tier = f"R{replicas}"
        self._limit = limit

    async def usage(self) -> Usage:
        info = await self._link.api("INFO")
        tiers = cast("dict[str, dict[str, Any]]", info.get("tiers") or {})
        # An account with tiers has a limit for each number of replicas, and none in all.
        account: dict[str, Any] = tiers.get(self._tier, info)
        said = cast("dict[str, Any]", account.get("limits") or {})
        told = int(said.get("max_storage") or 0)
        limits = [limit for limit in (told, self._limit) if limit > 0]
        return Usage(int(account.get("storage") or 0), min(limits, default=0))
