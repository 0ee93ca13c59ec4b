"""Did every fault that can meet a port call meet it? The table that proves where storms looked."""

from __future__ import annotations

import inspect
from typing import get_type_hints

from rich.table import Table
from rich.text import Text
from support.storm.campaign import Tally

from perdure.ports.backend import Backend
from perdure.testing.fault_kinds import CALLBACKS, OPENINGS, WORDS
from perdure.testing.fault_proxies import PORTS
from perdure.testing.faults import Fault, every_fault

UNCALLED = {"blobs.delete": "no part of perdure deletes blobs yet"}
_MARKS = {
    "CrashBefore": "crash before", "CrashAfter": "crash after", "ReportedFailed": "said to fail",
    "Refused": "refused", "RefusedFull": "store full", "Delayed": "late", "Duplicated": "twice",
    "Lost": "lost", "Reordered": "over- taken", "PausedBefore": "paused before",
    "PausedAfter": "paused after", "ClockStepped": "clock step",
}  # fmt: skip


def every_call() -> list[str]:
    """Every call that the ports have, by their protocols, with what passes either way."""
    hints = get_type_hints(Backend)
    methods = {
        f"{port}.{name}"
        for port in PORTS
        for name, member in vars(hints[port]).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    return sorted(methods | CALLBACKS | WORDS | OPENINGS)


def missing(tally: Tally) -> list[str]:
    """Faults that can meet a call and did not, and calls that nobody made."""
    found = [
        f"nobody called {call}"
        for call in every_call()
        if not tally.calls[call] and call not in UNCALLED
    ]
    found += [
        f"{fault.name} never met {call}"
        for call in every_call()
        for fault in every_fault()
        if fault.meets(call) and tally.calls[call] and not tally.met[fault.name, call]
    ]
    return found


def coverage_table(tally: Tally) -> Table:
    table = Table(title="how often each fault met each port call", header_style="bold")
    table.add_column("call", no_wrap=True)
    table.add_column("made", justify="right", no_wrap=True)
    faults = every_fault()
    for fault in faults:
        table.add_column(_MARKS[fault.name], justify="right", max_width=7)
    for call in every_call():
        cells = [_cell(tally, fault, call) for fault in faults]
        table.add_row(call, str(tally.calls[call]), *cells)
    return table


def _cell(tally: Tally, fault: Fault, call: str) -> Text:
    if call in UNCALLED or not fault.meets(call):
        return Text("·", style="dim")
    count = tally.met[fault.name, call]
    return Text(str(count), style="" if count else "bold red")


def reasons() -> list[str]:
    """What the dots of the table mean."""
    by_fault = [f"{fault.name}: {fault.why_not}" for fault in every_fault() if fault.why_not]
    return by_fault + [f"{call}: {why}" for call, why in UNCALLED.items()]


__all__ = ["coverage_table", "every_call", "missing", "reasons"]
