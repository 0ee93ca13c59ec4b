"""The results as a picture: four panels, each left out when nothing was measured for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")

from lines.model import ENOUGH, Report, Result
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reporting.cells import PROCESSES, noise_line

_INK: Final = "#22303C"
_QUIET: Final = "#8A97A3"
_GRID: Final = "#E6EAED"
_GOOD: Final = "#2A9D8F"
_SHORT: Final = "#E07A5F"
_COLOURS: Final = dict(
    zip(PROCESSES, ("#264653", "#2A9D8F", "#8AB17D", "#E9C46A", "#C9D1D8"), strict=True)
)
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _QUIET,
    "axes.edgecolor": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _GRID,
    "xtick.color": _QUIET,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
_LONGEST_BAR: Final = 2.0
"""Shares of a target beyond this are cut: what is far better needs no room."""

_Panel = Callable[[Axes, Report], None]


def draw(report: Report, folder: Path, name: str) -> Path:
    """Write ``name``.png; the path."""
    chosen: list[_Panel] = [panel for has, panel in _PANELS if has(report)]
    with pyplot.rc_context(_STYLE):
        rows = max((len(chosen) + 1) // 2, 1)
        figure, grid = pyplot.subplots(rows, 2, figsize=(14, 5.2 * rows), squeeze=False)
        figure.set_layout_engine("constrained", h_pad=0.16, w_pad=0.16, wspace=0.04)
        axes = list(grid.flat)
        for panel, place in zip(chosen, axes, strict=False):
            panel(place, report)
        for place in axes[len(chosen) :]:
            place.set_axis_off()
        machine = report.machine
        noise = noise_line(report)
        figure.suptitle(
            f"perdure on {machine['cores']} cores, everything on one machine: nats-server "
            f"{machine['nats-server']}, Python {machine['Python']}"
            + (f"\n{noise}" if noise else ""),
            fontsize=14,
            fontweight="bold",
            x=0.01,
            ha="left",
        )
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=110, facecolor="white")
        pyplot.close(figure)
    return path


def _named(report: Report, *names: str) -> list[Result]:
    by_name = {result.name: result for result in report.results}
    return [by_name[name] for name in names if name in by_name]


def _title(axes: Axes, title: str, what: str) -> None:
    axes.set_title(f"{title}\n", loc="left", fontsize=12, fontweight="bold")
    axes.text(0, 1.02, what, transform=axes.transAxes, color=_QUIET, fontsize=9)


def _thousands(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


# ------------------------------------------------------------------ throughput

_THROUGHPUT: Final = (
    ("workflows-1", "1 at once"),
    ("workflows-10", "10 at once"),
    ("workflows-100", "100 at once"),
    ("workflows-500", "500 at once"),
    ("execute-100", "100, execute_workflow"),
    ("door-500", "500, by message"),
    ("always-100", "100, sync always"),
)


def _rates(report: Report) -> list[tuple[Result, str]]:
    labels = dict(_THROUGHPUT)
    return [(one, labels[one.name]) for one in _named(report, *labels)]


def _throughput(axes: Axes, report: Report) -> None:
    rates = _rates(report)
    values = [result.value for result, _ in rates]
    bars = axes.barh([label for _, label in rates], values, color=_GOOD, height=0.62)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], padding=5, fontsize=9)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.14)
    _thousands(axes.xaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    _title(axes, "Workflows per second", "one activity each, start to result")


def _costs(axes: Axes, report: Report) -> None:
    rates = _rates(report)
    left = [0.0] * len(rates)
    labels = [label for _, label in rates]
    for process in PROCESSES:
        widths = [result.cpu.get(process, 0.0) for result, _ in rates]
        axes.barh(labels, widths, left=left, color=_COLOURS[process], label=process, height=0.62)
        left = [sofar + width for sofar, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axes.annotate(
            f"{total:,.0f}",
            (total, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.14)
    _thousands(axes.xaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend(loc="lower right", fontsize=9, handlelength=1, handleheight=1)
    _title(axes, "CPU time per workflow", "microseconds, by process")


# ------------------------------------------------------------------ targets


def _targeted(report: Report) -> list[Result]:
    return [result for result in report.results if report.judged(result) is not None]


def _targets(axes: Axes, report: Report) -> None:
    results = _targeted(report)
    shares = [report.judged(result) or 0.0 for result in results]
    shown = [min(share, _LONGEST_BAR) for share in shares]
    colours = [_GOOD if share >= ENOUGH else _SHORT for share in shares]
    labels = [_target_label(result) for result in results]
    bars = axes.barh(range(len(results)), shown, color=colours, height=0.62)
    axes.bar_label(
        bars,
        labels=[f"{share:.0%}" for share in shares],
        padding=5,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
    axes.set_yticks(range(len(results)), labels)
    axes.axvline(1, color=_INK, linewidth=1)
    axes.axvline(ENOUGH, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, _LONGEST_BAR * 1.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    noisy = any(result.is_noisy for result in results)
    how = "by CPU time, the machine was noisy" if noisy else "as a ratio to the raw floor"
    _title(axes, "Targets", f"{how}; dashed: two thirds")


def _target_label(result: Result) -> str:
    goal = f"{result.target:,.0f} {result.unit}"
    return f"{_SHORT_NAMES.get(result.name, result.title)}\n{goal}"


_SHORT_NAMES: Final = {
    "workflows-100": "100 workflows at once",
    "workflows-500": "500 workflows at once",
    "activities-100": "five activities each",
    "latency-p50": "one workflow alone, p50",
    "waiting-memory": "many waiting, memory",
    "waiting-answer-max": "many waiting, slowest answer",
    "always-100": "sync always, 100 at once",
}

# ------------------------------------------------------------------ growth


def _steps(report: Report) -> Sequence[dict[str, Any]]:
    found = _named(report, "growth-rate")
    return found[0].details.get("steps", []) if found else []


def _growth(axes: Axes, report: Report) -> None:
    steps = _steps(report)
    closed = [step["closed"] for step in steps]
    axes.plot(closed, [step["rate"] for step in steps], color=_GOOD, marker="o", linewidth=2)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("workflows/s", color=_GOOD)
    axes.set_xlabel("closed workflows")
    axes.set_xlim(left=0)
    _thousands(axes.xaxis)
    _thousands(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    other = axes.twinx()
    other.grid(visible=False)
    memory, disk = ([step[key] for step in steps] for key in ("server_memory", "disk"))
    other.plot(closed, memory, color=_COLOURS["nats-server"], marker="s", label="server memory")
    other.plot(closed, disk, color=_COLOURS["gateway"], marker="^", label="disk")
    other.set_ylim(bottom=0)
    other.set_ylabel("MB")
    _thousands(other.yaxis)
    other.legend(loc="lower right", fontsize=9)
    _title(axes, "As closed workflows grow", "speed, and what the server keeps")


_PANELS: Final[tuple[tuple[Callable[[Report], bool], _Panel], ...]] = (
    (lambda report: bool(_rates(report)), _throughput),
    (lambda report: bool(_rates(report)), _costs),
    (lambda report: bool(_targeted(report)), _targets),
    (lambda report: len(_steps(report)) > 1, _growth),
)
