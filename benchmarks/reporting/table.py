"""The tables at the end of a run, on the terminal."""

from __future__ import annotations

from lines.model import Report
from rich.console import Console
from rich.table import Table

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
from reporting.saving import Change


def show(console: Console, report: Report) -> None:
    """The figures, then what each unit costs."""
    if report.results:
        _show_results(console, report)
    if report.peers:
        _show_peers(console, report)
    for trouble in report.troubles:
        console.print(trouble, style="red", markup=False, highlight=False)


def _show_results(console: Console, report: Report) -> None:
    figures = Table(*FIGURES[:1], title="Figures", title_justify="left")
    for heading in FIGURES[1:]:
        figures.add_column(heading, justify="right", no_wrap=True)
    for result in report.results:
        cells = figure_cells(result, report)
        style = {"yes": "green", "no": "red"}.get(cells[-1].partition(",")[0])
        figures.add_row(*cells[:-1], f"[{style}]{cells[-1]}[/]" if style else cells[-1])
    console.print(figures)
    costs = Table(*COSTS[:1], title="CPU microseconds per unit", title_justify="left")
    for heading in COSTS[1:]:
        costs.add_column(heading, justify="right", no_wrap=True)
    for result in costly(report):
        costs.add_row(*cost_cells(result, report))
    console.print(costs)
    console.print(f"Raw floor: {floor_line(report)}. Size: {report.size}.")
    if noise := noise_line(report):
        console.print(noise, style="yellow")


def _show_peers(console: Console, report: Report) -> None:
    table = Table(*PEERS[:1], title="One step, on several engines", title_justify="left")
    for heading in PEERS[1:]:
        table.add_column(heading, justify="right" if heading in PEERS[1:6] else "left")
    for row in report.peers:
        table.add_row(*peer_cells(row))
    console.print(table)
    for row in report.peers:
        if row["trouble"]:
            console.print(f"{row['title']}: {row['trouble']}", markup=False, highlight=False)


def show_changes(console: Console, changes: list[Change], *, label: str) -> None:
    """Old and new, figure by figure."""
    table = Table("figure", title=f"Against {label!r}", title_justify="left")
    for heading in ("old", "new", "change", "CPU old", "CPU new", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in changes:
        table.add_row(*change.cells)
    console.print(table)
