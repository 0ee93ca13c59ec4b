"""Runs lines one after the other and collects their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness.deployment import ServiceFailed, Shape, deployment
from harness.jobs import JobFailed, LoadClient, load_client
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from lines.catalogue import floor
from lines.model import Line, Parameters, Report, Result, Size, costs, pick

MAX_CACHED: Final = "PERDURE_MAX_CACHED_WORKFLOWS"
_BESIDE: Final = {"messages": 10_000, "rounds": 2}


class Bench:
    """One run: how much of everything, and where."""

    def __init__(
        self,
        console: Console,
        *,
        size: Size,
        repeat: int,
        shape: Shape,
        folder: Path | None,
        with_floor: bool,
    ) -> None:
        self._size = size
        self._repeat = repeat
        self._shape = shape
        self._folder = folder
        self._with_floor = with_floor
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            refresh_per_second=2,
        )

    async def run(self, chosen: Sequence[Line], report: Report) -> None:
        """Fill the report; the floors are measured before and after everything else. What fails is
        left out and told in the report."""
        floors = [floor(durable=False)] if self._with_floor else []
        if self._with_floor and any(line.durable for line in chosen):
            floors.append(floor(durable=True))
        sittings = self._sittings(chosen, floors)
        with self._progress as progress:
            bar = progress.add_task("", total=sum(map(len, sittings)))
            finished = 0
            for sitting in sittings:
                try:
                    await self._sit(sitting, report, bar)
                except (ServiceFailed, JobFailed) as error:
                    # The others are worth having all the same.
                    names = ", ".join(line.name for line in sitting)
                    report.troubles.append(f"{names}: {error}")
                finished += len(sitting)
                progress.update(bar, completed=finished)
            progress.update(bar, description="done")

    def _sittings(self, chosen: Sequence[Line], floors: Sequence[Line]) -> list[list[Line]]:
        """Lines that share a deployment: none do, unless only to see that they work."""
        if self._size is Size.TINY:
            kinds = {line.durable for line in chosen}
            return [[line for line in [*floors, *chosen] if line.durable is one] for one in kinds]
        return [[line] for line in [*floors, *list(chosen) * self._repeat, *floors]]

    async def _sit(self, sitting: Sequence[Line], report: Report, bar: TaskID) -> None:
        async with (
            deployment(self._shape_of(sitting), under=self._folder) as at,
            load_client(at.to_json()) as client,
        ):
            for line in sitting:
                done = self._progress.tasks[bar].completed
                self._progress.update(bar, description=f"{line.name:<16}")
                parameters = line.parameters(self._size)
                beside = await self._floor_beside(line, client)
                outcome = await client.run(
                    line.job,
                    parameters,
                    on_progress=lambda share, done=done: self._progress.update(
                        bar, completed=done + share
                    ),
                )
                beside += await self._floor_beside(line, client)
                _collect(report, line, parameters, outcome, beside)
                self._progress.update(bar, completed=done + 1)

    async def _floor_beside(self, line: Line, client: LoadClient) -> list[float]:
        if not line.is_held_against_floor or not self._with_floor or self._size is Size.TINY:
            return []
        outcome = await client.run(floor(durable=False).job, _BESIDE)
        return list(outcome["rates"])

    def _shape_of(self, sitting: Sequence[Line]) -> Shape:
        settings: dict[str, str] = {}
        for line in sitting:
            if line.half_cached:
                settings[MAX_CACHED] = str(line.parameters(self._size)["workflows"] // 2)
        shape = replace(self._shape, durable=sitting[0].durable, settings=settings)
        if any(line.services for line in sitting):
            return shape
        return replace(shape, schedulers=0, workers=0, gateways=0)


def _collect(
    report: Report,
    line: Line,
    parameters: Parameters,
    outcome: dict[str, Any],
    beside: list[float],
) -> None:
    sizes = {name: f"{value:,}" for name, value in parameters.items()}
    known = {result.name: result for result in report.results}
    for figure in line.figures:
        value = pick(outcome, figure.key)
        spent, others = costs(outcome, figure.key)
        if not figure.costs:
            spent = {}
        if figure.name in known:
            result = known[figure.name]
            result.add(value, spent, others)
        else:
            result = Result(
                name=figure.name,
                title=figure.title.format(**sizes),
                unit=figure.unit,
                better=figure.better,
                scales=figure.scales,
                durability=line.durability,
                concurrency=line.concurrency,
                target=figure.target,
                values=[value],
                cpu=spent,
                others=others,
            )
            report.results.append(result)
        result.details = outcome
        result.beside += beside
    if not line.services:
        report.floors.setdefault(line.durability, []).extend(outcome["rates"])
