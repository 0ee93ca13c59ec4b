"""What stands in the cells of a table, whichever way the table is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lines.model import ENOUGH, NOISE, Report, Result

PROCESSES: Final = ("nats-server", "scheduler", "worker", "gateway", "client")
NOTHING: Final = "–"
FIGURES: Final = (
    "figure",
    "value",
    "unit",
    "durability",
    "at once",
    "target",
    "of the floor",
    "of the target",
    "by CPU",
    "two thirds",
)
COSTS: Final = ("figure", *PROCESSES, "all", "CPU allows", "others had")

PEERS: Final = (
    "engine",
    "workflows/s, 100 at once",
    "p50 alone, ms",
    "p99 alone, ms",
    "CPU µs each",
    "others had",
    "an acknowledgement means",
    "the step runs",
)


def number(value: float | None) -> str:
    """Three digits that matter, thousands apart."""
    if value is None:
        return NOTHING
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percent(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def figure_cells(result: Result, report: Report) -> Sequence[str]:
    """One row under :data:`FIGURES`."""
    return (
        result.title,
        number(result.value),
        result.unit,
        result.durability,
        NOTHING if result.concurrency is None else f"{result.concurrency:,}",
        number(result.target),
        percent(result.to_floor(report.floor)),
        percent(result.of_target(report.floor)),
        percent(report.by_cpu(result)),
        verdict(result, report),
    )


def verdict(result: Result, report: Report) -> str:
    """Whether two thirds of the target are reached."""
    if result.target is None:
        return NOTHING
    share = report.judged(result)
    if share is None:
        return "too noisy"
    word = "yes" if share >= ENOUGH else "no"
    return f"{word}, by CPU" if result.is_noisy else word


def cost_cells(result: Result, report: Report) -> Sequence[str]:
    """One row under :data:`COSTS`: CPU microseconds per unit, and units/s that they allow."""
    spent = [result.cpu.get(name) for name in PROCESSES]
    return (
        label(result),
        *(number(value) if value else NOTHING for value in spent),
        number(sum(value or 0.0 for value in spent)),
        number(report.allowed(result)),
        percent(result.others),
    )


def peer_cells(row: Mapping[str, Any]) -> Sequence[str]:
    """One row under :data:`PEERS`."""
    measured = not row["trouble"]
    return (
        row["title"],
        *(number(row[key]) if measured else NOTHING for key in ("rate", "p50", "p99", "cpu")),
        percent(row["others"]) if measured else NOTHING,
        row["durability"],
        row["step"],
    )


def label(result: Result) -> str:
    """The title with what tells rows of one title apart."""
    at_once = "" if result.concurrency is None else f", {result.concurrency:,} at once"
    return f"{result.title}{at_once}, {result.durability}"


def costly(report: Report) -> list[Result]:
    """The results that know their CPU time."""
    return [result for result in report.results if result.cpu]


def floor_line(report: Report) -> str:
    """The floors in words."""
    parts = [
        f"{number(sorted(rates)[len(rates) // 2])} publishes/s ({durability}; "
        f"{number(min(rates))} to {number(max(rates))})"
        for durability, rates in report.floors.items()
        if rates
    ]
    return ", ".join(parts) or "not measured"


def noise_line(report: Report) -> str:
    """A warning when others used the machine; empty when it was quiet."""
    shares = sorted(result.others for result in report.results)
    typical = shares[len(shares) // 2] if shares else 0.0
    if typical <= NOISE:
        return ""
    return (
        f"Others had {percent(typical)} of the machine meanwhile: rates and times say little, CPU "
        "time more."
    )
