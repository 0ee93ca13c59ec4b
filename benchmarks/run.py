"""``make bench``: measures what perdure does on this machine.

Each line has a nats-server, services and a load client of its own, all of them processes. The raw
floor (plain publishes of a nats-py program) is measured before and after, and figures are held
against it, so that runs on different machines can be compared.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.deployment import Shape
from harness.machine import describe
from lines.catalogue import SECONDS, lines
from lines.model import Line, Report, Size
from lines.running import Bench
from peers.known import OURS, PEERS
from peers.running import compare
from reporting.markdown import page
from reporting.saving import RESULTS, changes, load, save
from reporting.table import show, show_changes
from rich.console import Console

_WIDTH: Final = 170
_FLOOR: Final = "floor"


def main() -> int:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    saved = (options.output or RESULTS) / "saved"
    try:
        before = load(saved, options.compare) if options.compare else None
        report = asyncio.run(_measure(options, _chosen(options), console))
    except (UnknownName, FileNotFoundError) as error:
        console.print(str(error), style="red", markup=False)
        return 2
    show(console, report)
    _keep(options, report, console)
    if options.save:
        console.print(f"Saved: {save(report, saved, options.save)}")
    if before is not None:
        show_changes(console, changes(before, report), label=options.compare)
    return 1 if report.troubles else 0


async def _measure(options: argparse.Namespace, chosen: list[Line], console: Console) -> Report:
    counts = Shape(
        schedulers=options.schedulers, workers=options.workers, gateways=options.gateways
    )
    bench = Bench(
        console,
        size=Size(options.size),
        repeat=options.repeat,
        shape=counts,
        folder=options.folder,
        with_floor=not options.only or _FLOOR in _words(options.only),
    )
    report = Report(
        machine=describe(),
        size=options.size,
        processes=counts.counts,
        date=datetime.now(UTC).date().isoformat(),
        floors={},
        results=[],
    )
    await bench.run(chosen, report)
    if options.peers:
        seconds = SECONDS[Size(options.size)]
        names = _words(options.peers)
        report.peers = await compare(names, console, seconds=seconds, folder=options.folder)
    return report


def _keep(options: argparse.Namespace, report: Report, console: Console) -> None:
    """A whole run replaces the latest results, or those of the peers; any other only on request."""
    whole = not options.only and not report.troubles and options.size in (Size.DEFAULT, Size.FULL)
    if not whole and not options.output:
        return
    folder = options.output or RESULTS
    name = "peers" if options.peers and not options.only else "latest"
    save(report, folder, name)
    (folder / f"{name}.md").write_text(page(report), encoding="utf-8")
    if report.results and name == "latest":
        from reporting.plots import draw

        draw(report, folder, name)
    console.print(f"Results: {folder / name}.json, .md" + (", .png" if name == "latest" else ""))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _chosen(options: argparse.Namespace) -> list[Line]:
    """The lines that ``--only`` names; with ``--peers`` alone, none but the floor. Raises
    UnknownName."""
    known = list(lines())
    _check("peer", _words(options.peers), [name for name in PEERS if name not in OURS])
    if not options.only:
        return [] if options.peers else known
    names = _words(options.only)
    _check("line", names, [_FLOOR, *(line.name for line in known)])
    return [line for line in known if line.name in names]


class UnknownName(Exception):
    """A line or a peer that is not there."""


def _check(kind: str, names: list[str], known: list[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise UnknownName(f"No {kind} is called {', '.join(unknown)}. Known: {', '.join(known)}.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", metavar="NAME,…", help="these lines alone")
    size = parser.add_mutually_exclusive_group()
    for name, text in (
        (Size.QUICK, "shorter: a first impression"),
        (Size.FULL, "longer, up to a million closed workflows"),
        (Size.TINY, "only whether every line works"),
    ):
        size.add_argument(
            f"--{name}", dest="size", action="store_const", const=str(name), help=text
        )
    parser.set_defaults(size=str(Size.DEFAULT))
    parser.add_argument("--repeat", type=int, default=1, help="measure so often; the median counts")
    parser.add_argument("--save", metavar="LABEL", help="keep the results under this name")
    parser.add_argument("--compare", metavar="LABEL", help="show old and new side by side")
    parser.add_argument(
        "--peers",
        default="",
        metavar="NAME,…",
        help="the same load on other engines (restate, dbos, temporal) and on perdure",
    )
    parser.add_argument("--schedulers", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--gateways", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, help="where servers store (default: the system's temporary folder)"
    )
    parser.add_argument("--output", type=Path, help="write results, table and plots there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
