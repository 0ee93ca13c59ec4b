"""The results as a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lines.model import Report

from reporting.cells import (
    COSTS,
    FIGURES,
    PEERS,
    cost_cells,
    costly,
    figure_cells,
    floor_line,
    noise_line,
    peer_cells,
)


def page(report: Report) -> str:
    """The whole page; what the columns mean is told where it is linked."""
    machine = "; ".join(f"{name}: {value}" for name, value in report.machine.items())
    processes = ", ".join(f"{count} {kind}" for kind, count in report.processes.items())
    return "\n".join(
        [
            "# Results",
            "",
            f"{report.date}. {machine}. {processes}, 1 nats-server, 1 load client on the same "
            f"machine; size: {report.size}. Raw floor: {floor_line(report)}. {noise_line(report)}".rstrip(),
            "",
            "## Figures",
            "",
            *_table(FIGURES, (figure_cells(one, report) for one in report.results)),
            "",
            "## CPU microseconds per unit",
            "",
            *_table(COSTS, (cost_cells(one, report) for one in costly(report))),
            "",
            *_peers(report),
        ]
    )


def _peers(report: Report) -> list[str]:
    if not report.peers:
        return []
    trouble = [f"{row['title']}: {row['trouble']}" for row in report.peers if row["trouble"]]
    return [
        "## One step, on several engines",
        "",
        *_table(PEERS, map(peer_cells, report.peers)),
        "",
        *(line for text in trouble for line in (text, "")),
    ]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    bars = ["---", *["---:"] * (len(headings) - 1)]
    return ["| " + " | ".join(row) + " |" for row in [headings, bars, *rows]]
