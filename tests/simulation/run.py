"""``make simulate``: storms over a whole deployment, and a table of what they looked at.

make simulate SEEDS=2000            the seeds from FIRST (0) on, on all cores
make simulate SEED=123              one of them alone, with a trace of what went wrong
make simulate MUTANTS=1             every rule of the log turned off in turn: the storms must see it
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from support.storm.campaign import Failure, Tally, level_of, run_campaign, run_seeds
from support.storm.coverage import coverage_table, missing, reasons
from support.storm.mutants import MUTANTS, hunt
from support.storm.promises import Broken
from support.storm.storming import storm
from support.storm.trace import Trace

_TEXT = 1_500
_ENOUGH = 1_000
"""Seeds from which on every fault must have met every call."""


def main() -> int:
    logging.disable(logging.CRITICAL)
    options = _options()
    # Wide enough for the table and the trace where the output is no terminal.
    console = Console(width=None if sys.stdout.isatty() else 190)
    if options.mutants:
        return _run_mutants(console)
    if options.seed is not None:
        return _run_one(console, options.seed, options.level)
    return _run_many(console, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=2_000, help="how many storms (2000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--seed", type=int, help="one seed alone, with its trace")
    parser.add_argument("--level", type=float, help="how bad the weather is, e.g. 3 (by seed)")
    parser.add_argument("--processes", type=int, help="how many at once (all cores)")
    parser.add_argument("--mutants", action="store_true", help="find every mutant")
    return parser.parse_args()


def _run_many(console: Console, options: argparse.Namespace) -> int:
    seeds = range(options.first, options.first + options.seeds)
    columns = (
        TextColumn("storms"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[broken]} broken"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("storms", total=len(seeds), broken=0)

        def show(tally: Tally) -> None:
            progress.update(task, completed=tally.seeds, broken=len(tally.failures))

        tally = run_campaign(
            seeds, level=options.level, processes=options.processes, on_progress=show
        )
    console.print(coverage_table(tally))
    for reason in reasons():
        console.print(f"  · {reason}", style="dim", highlight=False)
    gaps = missing(tally)
    for gap in gaps if len(seeds) >= _ENOUGH else []:
        console.print(gap, style="red")
    for failure in tally.failures:
        _say(console, failure)
    console.print(
        f"{tally.seeds} storms, {sum(tally.calls.values())} port calls, "
        f"{sum(tally.met.values())} faults, {tally.cpu / max(tally.seeds, 1):.2f} s of CPU each: "
        f"{len(tally.failures)} broke a promise"
    )
    if tally.failures:
        level = options.level
        _run_one(console, tally.failures[0].seed, level)
    return 1 if tally.failures or (gaps and len(seeds) >= _ENOUGH) else 0


def _run_one(console: Console, seed: int, level: float | None) -> int:
    trace = Trace()
    level = level_of(seed) if level is None else level
    console.print(f"seed {seed} at level {level}", style="bold")
    try:
        storm(seed, level=level, trace=trace)
    except Broken as broken:
        trace.show(console, workflow_id=broken.workflow_id)
        _say(console, Failure(seed, str(broken)))
        return 1
    console.print("every promise was kept", style="green")
    return 0


def _run_mutants(console: Console) -> int:
    green: list[str] = []
    for name in MUTANTS:
        seen = hunt(name, run_seeds)
        if seen is None:
            green.append(name)
            console.print(f"{name}: not seen by any seed", style="bold red")
        else:
            told = f"{name}: seed {seen.seed}: {seen.what.partition(chr(10))[0]:.140}"
            console.print(told, highlight=False)
    return 1 if green else 0


def _say(console: Console, failure: Failure) -> None:
    console.print(f"seed {failure.seed}: {failure.what[:_TEXT]}", style="red", highlight=False)
    console.print(f"  again: make simulate SEED={failure.seed}", style="bold", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
