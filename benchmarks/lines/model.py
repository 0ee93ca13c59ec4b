"""Lines, their figures, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any, Final, Literal, Self

FLOOR_OF_TARGETS: Final = 37_000.0
"""Publishes/s of the raw floor on the machine on which the targets were set."""

ENOUGH: Final = 2 / 3
"""A machine is noisy: this share of a target, as a ratio to the floor, counts as reached."""

NOISE: Final = 0.25
"""When others had more of the machine, rates are judged by their CPU time instead."""


class Size(StrEnum):
    """How much is done: TINY only shows that a line works."""

    TINY = "tiny"
    QUICK = "quick"
    DEFAULT = "default"
    FULL = "full"


Parameters = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number out of a line's outcome; ``key`` is a path in it. A title may name parameters.

    ``scales``: a faster machine does better at it, so that its target moves with the floor.
    """

    name: str
    title: str
    unit: str
    key: str = "rate"
    target: float | None = None
    better: Literal["more", "less"] = "more"
    scales: bool = True
    costs: bool = True
    """The CPU time of the line is of this figure's units."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One job of the load, on a deployment of its own."""

    name: str
    job: str
    parameters: Callable[[Size], Parameters]
    figures: Sequence[Figure]
    concurrency: int | None = None
    durable: bool = False
    half_cached: bool = False
    """The scheduler keeps half of the line's workflows in memory."""
    services: bool = True

    @property
    def durability(self) -> str:
        return "always" if self.durable else "default"

    @property
    def is_held_against_floor(self) -> bool:
        """Whether a target of it moves with the floor, so that one is measured beside it."""
        scales = any(one.target and one.scales for one in self.figures)
        return self.services and scales and not self.durable


@dataclass(kw_only=True)
class Result:
    """One figure as measured: the median of its repetitions."""

    name: str
    title: str
    unit: str
    better: str
    scales: bool
    durability: str
    concurrency: int | None
    target: float | None
    values: list[float]
    cpu: dict[str, float]
    """Microseconds per unit, by process."""
    others: float = 0.0
    """The share of the machine that others kept busy."""
    beside: list[float] = field(default_factory=list[float])
    """The raw floor right before and after: a shared machine is not equally fast all the time."""
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def value(self) -> float:
        return median(self.values)

    def add(self, value: float, cpu: Mapping[str, float], others: float) -> None:
        """One more repetition; of the costs the mean is kept."""
        self.values.append(value)
        share = 1 / len(self.values)
        self.others += (others - self.others) * share
        for name, spent in cpu.items():
            known = self.cpu.get(name, 0.0)
            self.cpu[name] = known + (spent - known) * share

    def to_floor(self, floor: float) -> float | None:
        """A rate as a share of the raw publishes/s beside it, or of the same run."""
        floor = median(self.beside) if self.beside else floor
        return self.value / floor if self.scales and self.better == "more" and floor else None

    def of_target(self, floor: float) -> float | None:
        """1 is the target, on a machine with this floor."""
        if self.target is None or not self.value:
            return None
        floor = median(self.beside) if self.beside else floor
        reached = self.value / self.target if self.better == "more" else self.target / self.value
        return reached * FLOOR_OF_TARGETS / floor if self.scales and floor else reached

    @property
    def is_noisy(self) -> bool:
        """Whether others had so much of the machine that times say little."""
        return self.scales and self.others > NOISE

    def allowed(self, cores: int, processes: Mapping[str, int]) -> float | None:
        """Units/s at which the cores, or one kind of process, would have no time left: what a quiet
        machine could reach. A process of Python has one core."""
        spent = sum(self.cpu.values())
        if not spent:
            return None
        limits = [cores / spent]
        for kind, value in self.cpu.items():
            if value and kind != "nats-server":
                limits.append(processes.get(kind, 1) / value)
        return min(limits) * 1e6


@dataclass(kw_only=True)
class Report:
    """One run of the benchmarks."""

    machine: dict[str, str]
    size: str
    processes: dict[str, int]
    date: str
    floors: dict[str, list[float]]
    """Raw publishes/s by durability, before and after."""
    results: list[Result]
    peers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    troubles: list[str] = field(default_factory=list[str])
    """Lines that failed, and why."""

    @property
    def floor(self) -> float:
        """The floor that targets are measured against; 0 when it was not measured."""
        rates = self.floors.get("default", [])
        return median(rates) if rates else 0.0

    def allowed(self, result: Result) -> float | None:
        return result.allowed(int(self.machine["cores"]), self.processes)

    def by_cpu(self, result: Result) -> float | None:
        """What a rate reaches of its target by CPU time alone, its own and the floor's. Where each
        acknowledgement waits for the disk, CPU time says nothing."""
        if result.durability == "always":
            return None
        floor = next((one for one in self.results if one.name == "floor"), None)
        allowed = self.allowed(result)
        raw = None if floor is None else self.allowed(floor)
        if result.target is None or result.better == "less" or not allowed or not raw:
            return None
        return allowed / result.target * FLOOR_OF_TARGETS / raw

    def judged(self, result: Result) -> float | None:
        """The share of the target that counts: by time, or by CPU time on a noisy machine. None when
        neither says anything."""
        return self.by_cpu(result) if result.is_noisy else result.of_target(self.floor)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        fields: dict[str, Any] = dict(data)
        fields["results"] = [Result(**one) for one in data["results"]]
        return cls(**fields)


def costs(outcome: Mapping[str, Any], key: str) -> tuple[dict[str, float], float]:
    """CPU microseconds per unit, and what others had of the machine, beside a value."""
    place: Any = outcome
    for part in key.split(".")[:-1]:
        place = place[part]
    return dict(place["cpu"]), float(place["others"])


def pick(outcome: Mapping[str, Any], key: str) -> float:
    """The number at a path such as ``cold.rate``."""
    value: Any = outcome
    for part in key.split("."):
        value = value[part]
    return float(value)
