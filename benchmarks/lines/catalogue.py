"""Every line, in the order in which they run and are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lines.model import Figure, Line, Parameters, Size

_RATE: Final = "workflows/s"
SECONDS: Final = {Size.TINY: 0.2, Size.QUICK: 3.0, Size.DEFAULT: 6.0, Size.FULL: 15.0}
_WARMUP: Final = {Size.TINY: 0.1, Size.QUICK: 1.5, Size.DEFAULT: 2.0, Size.FULL: 3.0}

_SETTLING: Final = 60.0
"""Seconds at most that a line waits for a calm scheduler."""


def _window(size: Size, concurrency: int = 0) -> dict[str, Any]:
    timed: dict[str, Any] = {"seconds": SECONDS[size], "warmup": _WARMUP[size]}
    if concurrency:
        timed["concurrency"] = min(concurrency, 10) if size is Size.TINY else concurrency
    return timed


def floor(*, durable: bool) -> Line:
    """The raw floor; runs before and after all others."""

    def parameters(size: Size) -> Parameters:
        if size is Size.TINY:
            return {"messages": 200, "rounds": 1}
        return {"messages": 5_000 if durable else 20_000, "rounds": 3}

    return Line(
        name="floor-always" if durable else "floor",
        job="floor",
        parameters=parameters,
        durable=durable,
        services=False,
        concurrency=4_000,
        figures=[
            Figure(
                name="floor-always" if durable else "floor",
                title="raw floor: nats-py publish_async, 100 bytes",
                unit="publishes/s",
            )
        ],
    )


def _throughput(
    name: str,
    job: str,
    title: str,
    concurrency: int,
    *,
    unit: str = _RATE,
    target: float | None = None,
    durable: bool = False,
) -> Line:
    return Line(
        name=name,
        job=job,
        parameters=lambda size: _window(size, concurrency),
        concurrency=concurrency,
        durable=durable,
        figures=[Figure(name=name, title=title, unit=unit, target=target)],
    )


def _latency(
    name: str, job: str, title: str, *, target: float | None = None, durable: bool = False
) -> Line:
    return Line(
        name=name,
        job=job,
        parameters=_window,
        concurrency=1,
        durable=durable,
        figures=[
            Figure(
                name=f"{name}-p50",
                title=f"{title}, p50",
                unit="ms",
                key="p50",
                target=target,
                better="less",
            ),
            Figure(
                name=f"{name}-p99",
                title=f"{title}, p99",
                unit="ms",
                key="p99",
                better="less",
                costs=False,
            ),
        ],
    )


def _signals(name: str, job: str, title: str) -> Line:
    def parameters(size: Size) -> Parameters:
        each = {Size.TINY: 2, Size.QUICK: 60, Size.DEFAULT: 120, Size.FULL: 500}[size]
        return {"workflows": 5 if size is Size.TINY else 100, "signals": each}

    return Line(
        name=name,
        job=job,
        parameters=parameters,
        concurrency=100,
        figures=[Figure(name=name, title=title, unit="signals/s")],
    )


def _replay() -> Line:
    def parameters(size: Size) -> Parameters:
        steps = {Size.TINY: 5, Size.QUICK: 400, Size.DEFAULT: 1_500, Size.FULL: 5_000}[size]
        return {
            "histories": 2 if size is Size.TINY else 6,
            "steps": steps,
            "seconds": SECONDS[size],
        }

    return Line(
        name="replay",
        job="histories",
        parameters=parameters,
        concurrency=1,
        figures=[
            Figure(
                name="replay-core",
                title="replay in the core",
                unit="events/s",
                key="core.rate",
                target=50_000,
            ),
            Figure(
                name="replay-cold",
                title="replay cold from the log",
                unit="events/s",
                key="cold.rate",
                target=15_000,
            ),
        ],
    )


def _waiting() -> Line:
    """Half of the workflows fit into the scheduler's cache, whose size is a setting."""

    def parameters(size: Size) -> Parameters:
        if size is Size.TINY:
            return {"workflows": 20, "asked": 6, "settling": 0.0}
        workflows = 2_000 if size is Size.QUICK else 10_000
        return {"workflows": workflows, "asked": 200, "settling": _SETTLING}

    return Line(
        name="waiting",
        job="waiting",
        parameters=parameters,
        concurrency=1,
        half_cached=True,
        figures=[
            Figure(
                name="waiting-memory",
                title="scheduler with {workflows} waiting, half cached",
                unit="MB",
                key="memory",
                costs=False,
                target=200,
                better="less",
                scales=False,
            ),
            Figure(
                name="waiting-answer-p50",
                title="one of {workflows} waiting answers a signal, p50",
                unit="ms",
                key="p50",
                better="less",
            ),
            Figure(
                name="waiting-answer-max",
                title="one of {workflows} waiting answers a signal, max",
                unit="ms",
                key="max",
                costs=False,
                target=50,
                better="less",
            ),
        ],
    )


def _timers() -> Line:
    def parameters(size: Size) -> Parameters:
        pending = {Size.TINY: 100, Size.QUICK: 5_000, Size.DEFAULT: 100_000, Size.FULL: 100_000}
        tiny = size is Size.TINY
        return {
            "pending": pending[size],
            "alarms": 5 if tiny else 200,
            "settling": 0.0 if tiny else _SETTLING,
        }

    title = "timer's lateness, {pending} pending"
    return Line(
        name="timers",
        job="timers",
        parameters=parameters,
        figures=[
            Figure(name="timers-armed", title="timers armed", unit="timers/s"),
            *(
                Figure(
                    name=f"timers-{key}",
                    title=f"{title}, {key}",
                    unit="ms",
                    key=key,
                    better="less",
                    costs=False,
                )
                for key in ("p50", "p99", "max")
            ),
        ],
    )


def _growth() -> Line:
    def parameters(size: Size) -> Parameters:
        per_step = {Size.TINY: 10, Size.QUICK: 1_000, Size.DEFAULT: 5_000, Size.FULL: 50_000}
        steps = {Size.TINY: 2, Size.QUICK: 3, Size.DEFAULT: 4, Size.FULL: 20}
        return {"workflows": per_step[size], "steps": steps[size], "concurrency": 200}

    return Line(
        name="growth",
        job="growth",
        parameters=parameters,
        concurrency=200,
        figures=[
            Figure(name="growth-rate", title="workflows/s after the closed ones", unit=_RATE),
            Figure(
                name="growth-kept",
                title="speed of the last step of the first's",
                unit="%",
                key="kept",
                costs=False,
                scales=False,
            ),
            Figure(
                name="growth-disk",
                title="disk per closed workflow",
                unit="bytes",
                key="disk",
                costs=False,
                better="less",
                scales=False,
            ),
            Figure(
                name="growth-memory",
                title="nats-server after the closed ones",
                unit="MB",
                key="server_memory",
                costs=False,
                better="less",
                scales=False,
            ),
        ],
    )


def lines() -> Sequence[Line]:
    """All lines but the floors."""
    one, five = "workflows of one activity", "activities, in workflows of five"
    return [
        _throughput("workflows-1", "one_step", one, 1),
        _throughput("workflows-10", "one_step", one, 10),
        _throughput("workflows-100", "one_step", one, 100, target=3_000),
        _throughput("workflows-500", "one_step", one, 500, target=3_000),
        _throughput("execute-100", "execute", f"{one}, execute_workflow", 100),
        _throughput("door-500", "door", f"{one}, started by a message", 500),
        _throughput("activities-100", "five_steps", five, 100, unit="activities/s", target=6_000),
        _latency("latency", "latency", "one workflow alone", target=4),
        _latency("first-activity", "first_step", "start to first activity"),
        _signals("signals", "signals", "signals, handle.signal"),
        _signals("signals-door", "signals_door", "signals, durable subject"),
        _replay(),
        _waiting(),
        _timers(),
        _growth(),
        _throughput("always-100", "one_step", one, 100, target=700, durable=True),
        _latency("always-latency", "latency", "one workflow alone", durable=True),
    ]
