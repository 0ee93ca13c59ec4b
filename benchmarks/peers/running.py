"""Runs engines one after the other under the same load."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from harness.deployment import ServiceFailed
from harness.jobs import JobFailed, load_client
from rich.console import Console

from peers.known import OURS, PEERS
from peers.place import Peer, PeerFailed

_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Compared:
    """One engine's row; ``trouble`` instead of figures when it did not run."""

    title: str
    durability: str
    step: str
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    cpu: float = 0.0
    others: float = 0.0
    trouble: str = ""


async def compare(
    names: Sequence[str], console: Console, *, seconds: float, folder: Path | None
) -> list[dict[str, Any]]:
    """The named engines and perdure itself, one row each."""
    rows: list[dict[str, Any]] = []
    for name in [*OURS, *(name for name in names if name not in OURS)]:
        peer = PEERS[name]
        console.print(f"peers: {peer.title}", highlight=False)
        rows.append(asdict(await _one(name, peer, seconds=seconds, folder=folder)))
    return rows


async def _one(name: str, peer: Peer, *, seconds: float, folder: Path | None) -> Compared:
    about = Compared(title=peer.title, durability=peer.durability, step=peer.step)
    if missing := peer.missing():
        return replace(about, trouble=f"not installed: {missing}")
    try:
        with tempfile.TemporaryDirectory(prefix="perdure-peer-", dir=folder) as store:
            async with peer.running(Path(store)) as place:
                at = {"peer": name, "url": place.address, "groups": place.groups}
                async with load_client(at, module="peers") as client:
                    timed = {"seconds": seconds, "warmup": min(seconds, 3.0)}
                    many = await client.run("throughput", {**timed, "concurrency": _AT_ONCE})
                    alone = await client.run("latency", {**timed, "concurrency": 1})
    except (PeerFailed, ServiceFailed, JobFailed) as error:
        return replace(about, trouble=str(error))
    return replace(
        about,
        rate=many["rate"],
        p50=alone["p50"],
        p99=alone["p99"],
        cpu=sum(many["cpu"].values()),
        others=many["others"],
    )
