"""What a process counts, for Prometheus.

Names of workflow and activity types come from users: past a bound a new one counts as ``other``, so
that nobody who may start workflows can fill the memory of whoever scrapes.
"""

from typing import Final

from prometheus_client import (
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from perdure.engine.activities.intake import AttemptReport
from perdure.engine.scheduler.observing import Observer

OTHER: Final = "other"
_SECOND: Final = 1e9
_MOST: Final = 200
_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200)

# They double the number of series, and nobody reads them.
disable_created_metrics()

_closed = Counter("perdure_workflows_closed", "Runs that ended.", ["workflow_type", "status"])
_turns = Counter("perdure_workflow_turns", "Records committed.", ["workflow_type"])
_events = Counter("perdure_workflow_events", "Events that workflows took.", ["workflow_type"])
_replays = Counter("perdure_workflow_replays", "Runs loaded from the log.", ["workflow_type"])
_replayed = Counter("perdure_workflow_replayed_events", "Events read again by replays.")
_blocked = Counter(
    "perdure_workflows_blocked", "Runs that the code at hand cannot go on with.", ["workflow_type"]
)
_conflicts = Counter("perdure_commit_conflicts", "Turns that another owner committed first.")
_errors = Counter("perdure_turn_errors", "Turns that the store refused; they are tried again.")
_attempts = Counter(
    "perdure_activity_attempts", "Attempts that ended.", ["activity_type", "task_queue", "outcome"]
)
_abandoned = Counter(
    "perdure_activity_abandoned", "Attempts whose code did not end when cancelled.", ["task_queue"]
)
_duration = Histogram(
    "perdure_activity_duration_seconds",
    "How long attempts ran.",
    ["activity_type"],
    buckets=_BUCKETS,
)
_waited = Histogram(
    "perdure_activity_wait_seconds",
    "From when an attempt was due to when it began.",
    ["task_queue"],
    buckets=_BUCKETS,
)
_ingress = Counter("perdure_ingress_requests", "Requests at the durable door.", ["kind", "outcome"])
_refusals = Counter(
    "perdure_nats_refusals", "Errors that JetStream answered with, by its number.", ["code"]
)
_replaced = Counter(
    "perdure_process_replacements", "Processes that a supervisor put in the place of lost ones."
)
ready_gauge = Gauge("perdure_ready", "1 while this process does its part.")


def count_replacements(count: int) -> None:
    """Of the whole life of this process's supervisor."""
    _replaced.inc(count)


class Bounded:
    """The first so many different words; the rest are ``other``."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, word: str) -> str:
        if word in self._known:
            return word
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(word)
        return word


_workflow_type = Bounded()
_activity_type = Bounded()


class CountingObserver(Observer):
    """Counts what a scheduler does."""

    def __init__(self) -> None:
        self._of_type: dict[str, tuple[Counter, Counter]] = {}

    def turn(self, workflow_type: str, *, events: int, commands: int) -> None:
        counters = self._of_type.get(workflow_type)
        if counters is None:
            name = _workflow_type(workflow_type)
            counters = _turns.labels(name), _events.labels(name)
            if name is not OTHER:
                self._of_type[workflow_type] = counters
        counters[0].inc()
        counters[1].inc(events)

    def closed(self, workflow_type: str, status: str) -> None:
        _closed.labels(_workflow_type(workflow_type), status).inc()

    def loaded(self, workflow_type: str, *, events: int) -> None:
        _replays.labels(_workflow_type(workflow_type)).inc()
        _replayed.inc(events)

    def conflict(self) -> None:
        _conflicts.inc()

    def blocked(self, workflow_type: str, reason: str) -> None:
        _blocked.labels(_workflow_type(workflow_type)).inc()

    def failed(self, error: BaseException) -> None:
        _errors.inc()


class CountedAttempts:
    """Counts what an activity worker does."""

    def __init__(self) -> None:
        self._of_kind: dict[tuple[str, str, str], tuple[Counter, Histogram, Histogram]] = {}

    def __call__(self, report: AttemptReport) -> None:
        """One attempt of an activity ended."""
        outcome = str(report.outcome)
        key = report.activity_type, report.task_queue, outcome
        attempts, duration, waited = self._of_kind.get(key) or self._series(*key)
        attempts.inc()
        duration.observe(report.duration / _SECOND)
        waited.observe(report.waited / _SECOND)
        if report.abandoned:
            _abandoned.labels(report.task_queue).inc()

    def _series(
        self, activity_type: str, task_queue: str, outcome: str
    ) -> tuple[Counter, Histogram, Histogram]:
        name = _activity_type(activity_type)
        series = (
            _attempts.labels(name, task_queue, outcome),
            _duration.labels(name),
            _waited.labels(task_queue),
        )
        if name is not OTHER:
            self._of_kind[activity_type, task_queue, outcome] = series
        return series


def count_request(kind: str, outcome: str) -> None:
    """One request of the durable door was settled."""
    _ingress.labels(kind, outcome).inc()


def count_refusal(code: int) -> None:
    """JetStream said no; most are tried again, or are a race that somebody else won."""
    _refusals.labels(str(code)).inc()


def exposition() -> bytes:
    """All metrics of the process in Prometheus's text format."""
    return generate_latest(REGISTRY)
