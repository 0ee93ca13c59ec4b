"""The streams of a namespace as data: what each holds, keeps and refuses. Pure.

Three choices here are about safety, not taste:

* Streams that others than the engine write to (INGRESS, EVENTS) take neither roll-ups nor
  schedules: a header ``Nats-Rollup: all`` would let any sender wipe the stream, and a schedule
  would let him have the server write to a subject that he may not publish to. So cron schedules
  live in LOG.
* LOG has no limit of any kind: size and age limits would delete armed timers and open histories.
* INGRESS, DLQ and ARCHIVE say no when they are full (discard new) rather than drop what is old.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from perdure.adapters.jetstream.subjects import PARTITIONS, Subjects
from perdure.core.durations import DAY, MINUTE, nanoseconds

TOPOLOGY_VERSION: Final = 1
VERSION_KEY: Final = "perdure-topology"
PARTITIONS_KEY: Final = "perdure-partitions"
"""In how many consumers a task queue's workflows are dealt: all processes of a namespace must agree,
and existing consumers are cut for it, so the LOG stream says it once and for all."""
DEFAULT_PARTITIONS: Final = 4

DEFAULT_RETENTION: Final = timedelta(days=30)

_DEDUP: Final = 2 * MINUTE
_UNLIMITED: Final[Mapping[str, Any]] = {
    "max_msgs": -1,
    "max_bytes": -1,
    "max_age": 0,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
}
_BOUNDABLE: Final = frozenset({"ingress", "events", "dlq", "audit", "archive", "blobs"})


@dataclass(frozen=True, kw_only=True)
class TopologyOptions:
    """What an operator may choose. None and missing: the default where a stream is created, and
    whatever is found where it exists.

    ``retention`` is how long closed histories are kept; ``max_bytes`` bounds streams by word
    (ingress, events, dlq, audit, archive, blobs); ``create=False`` only verifies.
    """

    create: bool = True
    replicas: int | None = None
    partitions: int | None = None
    retention: timedelta | None = None
    max_bytes: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        unknown = sorted(set(self.max_bytes) - _BOUNDABLE)
        if unknown:
            raise ValueError(
                f"max_bytes cannot be set for {', '.join(unknown)}: only "
                f"{', '.join(sorted(_BOUNDABLE))} may be bounded, the others hold open work."
            )
        if self.replicas is not None and self.replicas not in (1, 3, 5):
            raise ValueError(f"replicas must be 1, 3 or 5, not {self.replicas}")
        if self.partitions is not None and self.partitions not in PARTITIONS:
            raise ValueError(f"partitions must be one of {PARTITIONS}, not {self.partitions}")
        if self.retention is not None and self.retention < timedelta(minutes=1):
            raise ValueError(f"retention must be at least a minute, not {self.retention}")


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """One declared stream: its configuration as the server takes it, and the fields that an
    operator may have set otherwise without our minding."""

    key: str
    config: Mapping[str, Any]
    free: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return str(self.config["name"])


def declared(subjects: Subjects, options: TopologyOptions) -> tuple[StreamSpec, ...]:
    """Every stream of the namespace, in the order in which they are made."""
    return tuple(
        _spec(key, config, options)
        for key, config in (
            ("log", _log(subjects)),
            ("tasks", _tasks(subjects)),
            ("ingress", _ingress(subjects)),
            ("state", _state(subjects)),
            ("members", _members(subjects)),
            ("archive", _archive(subjects, options)),
            ("blobs", _blobs(subjects)),
            ("events", _events(subjects)),
            ("dlq", _dlq(subjects)),
            ("audit", _audit(subjects)),
        )
    )


def _spec(key: str, config: Mapping[str, Any], options: TopologyOptions) -> StreamSpec:
    free = set[str]()
    metadata = {VERSION_KEY: str(TOPOLOGY_VERSION)}
    if key == "log":
        metadata[PARTITIONS_KEY] = str(options.partitions or DEFAULT_PARTITIONS)
        if options.partitions is None:
            free.add(PARTITIONS_KEY)
    if options.replicas is None:
        free.add("num_replicas")
    if key in _BOUNDABLE and key not in options.max_bytes:
        free.add("max_bytes")
    if key in ("events", "audit") or (key == "archive" and options.retention is None):
        free.add("max_age")
    whole = {
        **_UNLIMITED,
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "discard_new_per_subject": False,
        "duplicate_window": _DEDUP,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        "allow_msg_schedules": False,
        "allow_msg_ttl": False,
        "allow_atomic": False,
        "deny_delete": False,
        "deny_purge": False,
        **config,
        "num_replicas": options.replicas or 1,
        "metadata": metadata,
    }
    if key in options.max_bytes:
        whole["max_bytes"] = options.max_bytes[key]
    return StreamSpec(key=key, config=whole, free=frozenset(free))


def _log(subjects: Subjects) -> dict[str, Any]:
    return {
        "name": subjects.log_stream,
        "description": "perdure: inboxes, histories and timers of open workflows",
        # Cron schedules belong here whoever lists them: see the module's first point.
        "subjects": sorted({*subjects.log_subjects, *_crons(subjects)}),
        "allow_atomic": True,
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
        "allow_rollup_hdrs": True,
    }


def _crons(subjects: Subjects) -> set[str]:
    return set(subjects.ingress_subjects) - set(subjects.ingress_requests)


def _tasks(subjects: Subjects) -> dict[str, Any]:
    return {
        "name": subjects.tasks_stream,
        "description": "perdure: activity tasks, one per subject until acknowledged",
        "subjects": subjects.tasks_subjects,
        "retention": "workqueue",
        # The next attempt takes the place of the one before: see adapters.jetstream.tasks.
        "max_msgs_per_subject": 1,
    }


def _ingress(subjects: Subjects) -> dict[str, Any]:
    return {
        "name": subjects.ingress_stream,
        "description": "perdure: durable starts, signals and cancels that anyone published",
        "subjects": subjects.ingress_requests,
        "retention": "workqueue",
        "discard": "new",
    }


def _state(subjects: Subjects) -> dict[str, Any]:
    bucket = f"$KV.{subjects.state_bucket}.>"
    return {
        "name": subjects.state_stream,
        "description": "perdure: one entry per workflow id",
        "subjects": [bucket],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "deny_delete": True,
        "allow_msg_ttl": True,
        "republish": {"src": bucket, "dest": f"{subjects.base}_state.>"},
    }


def _members(subjects: Subjects) -> dict[str, Any]:
    # On disk, though whoever is alive says so again within seconds: a stream in memory is gone after
    # a restart of the server, and most processes may not make streams.
    return {
        "name": subjects.members_stream,
        "description": "perdure: which processes are alive",
        "subjects": [f"$KV.{subjects.members_bucket}.>"],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_msg_ttl": True,
    }


def _archive(subjects: Subjects, options: TopologyOptions) -> dict[str, Any]:
    return {
        "name": subjects.archive_stream,
        "description": "perdure: histories of closed workflows",
        "subjects": subjects.archive_subjects,
        "max_age": nanoseconds(options.retention or DEFAULT_RETENTION),
        "max_msgs_per_subject": 1,
        "discard": "new",
        "discard_new_per_subject": True,
    }


def _blobs(subjects: Subjects) -> dict[str, Any]:
    bucket = subjects.blobs_store
    return {
        "name": subjects.blobs_stream,
        "description": "perdure: payloads too large for a message",
        "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "discard_new_per_subject": True,
    }


def _events(subjects: Subjects) -> dict[str, Any]:
    return {
        "name": subjects.events_stream,
        "description": "perdure: starts and closes, for other services",
        "subjects": subjects.events_subjects,
        "max_age": 7 * DAY,
    }


def _dlq(subjects: Subjects) -> dict[str, Any]:
    return {
        "name": subjects.dead_letters_stream,
        "description": "perdure: what could not be processed, with its reason",
        "subjects": subjects.dead_letters_subjects,
        "discard": "new",
    }


def _audit(subjects: Subjects) -> dict[str, Any]:
    return {
        "name": subjects.audit_stream,
        "description": "perdure: who did what by hand",
        "subjects": subjects.audit_subjects,
        "max_age": 365 * DAY,
    }
