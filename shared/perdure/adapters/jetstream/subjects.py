"""Every subject, stream, consumer and bucket name of a namespace, and the way back. Pure.

No other file of this room writes a name down.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from perdure.core.ids import SLOTS, check_namespace, decode_token, encode_token
from perdure.ports.addresses import Address, Lane, TaskKey, TimerKey
from perdure.ports.ingress import RequestKind

PARTITIONS: Final = (1, 2, 4, 8, 16, 32, 64)

_LANES: Final = {"in.ext": Lane.EXTERNAL, "in.eng": Lane.ENGINE, "hist": Lane.HISTORY}
_LANE_TAIL: Final = {lane: f".{lane.value}" for lane in Lane}

_token = lru_cache(maxsize=16_384)(encode_token)
_text = lru_cache(maxsize=16_384)(decode_token)


@lru_cache(maxsize=65_536)
def _address(queue_token: str, id_token: str) -> Address:
    return Address(_text(queue_token), _text(id_token))


def slots_of_partition(partition: int, partitions: int) -> range:
    """The slots that a partition covers: contiguous, all partitions together cover all."""
    if partitions not in PARTITIONS:
        raise ValueError(f"partitions must be one of {PARTITIONS}, got {partitions}")
    if not 0 <= partition < partitions:
        raise ValueError(f"partition must be in 0..{partitions - 1}, got {partition}")
    width = SLOTS // partitions
    return range(partition * width, (partition + 1) * width)


def partition_of_slot(slot: int, partitions: int) -> int:
    return slot * partitions // SLOTS


@dataclass(frozen=True)
class Subjects:
    """The names of one namespace. ``prefix`` may have several tokens; it is used as it is, and its
    last one in capitals begins the names of streams, unless they have a prefix of their own."""

    namespace: str
    prefix: str = "perdure"
    stream_prefix: str = ""

    def __post_init__(self) -> None:
        check_namespace(self.namespace)
        if not self.stream_prefix:
            object.__setattr__(self, "stream_prefix", self.prefix.rpartition(".")[2].upper())

    @cached_property
    def base(self) -> str:
        return f"{self.prefix}.{self.namespace}."

    def _tokens(self, subject: str, kind: str, count: int) -> list[str]:
        start = f"{self.base}{kind}."
        tokens = subject[len(start) :].split(".")
        if not subject.startswith(start) or len(tokens) != count:
            raise ValueError(f"not a subject of {start}…: {subject!r}")
        return tokens

    # ------------------------------------------------------------------ LOG

    @cached_property
    def log_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_LOG"

    @property
    def log_subjects(self) -> list[str]:
        return [f"{self.base}_wf.>", f"{self.base}_timer.>", f"{self.base}_beat.>"]

    @cached_property
    def _workflows(self) -> str:
        return f"{self.base}_wf."

    def lane(self, address: Address, lane: Lane) -> str:
        """The literal subject of one lane of one workflow."""
        queue, workflow_id = _token(address.queue), _token(address.workflow_id)
        return f"{self._workflows}{queue}.{address.slot:02d}.{workflow_id}{_LANE_TAIL[lane]}"

    def lanes(self, address: Address) -> str:
        """Every lane of one workflow: no decision may rest on it, since a fence on a wildcard is
        not exact."""
        queue, workflow_id = _token(address.queue), _token(address.workflow_id)
        return f"{self._workflows}{queue}.{address.slot:02d}.{workflow_id}.>"

    def parse_lane(self, subject: str) -> tuple[Address, Lane]:
        """Raises ValueError for a subject that :meth:`lane` never writes."""
        if not subject.startswith(self._workflows):
            raise ValueError(f"not a workflow's subject: {subject!r}")
        parts = subject[len(self._workflows) :].split(".", 3)
        lane = _LANES.get(parts[3]) if len(parts) == 4 else None
        if lane is None:
            raise ValueError(f"not a workflow's subject: {subject!r}")
        return _address(parts[0], parts[2]), lane

    def queue_inboxes(self, queue: str, slot: int) -> str:
        """Both inbox lanes of every workflow of a slot."""
        return f"{self._workflows}{_token(queue)}.{slot:02d}.*.in.*"

    def queue_histories(self, queue: str, slot: int) -> str:
        return f"{self._workflows}{_token(queue)}.{slot:02d}.*.hist"

    def partition_filters(self, queue: str, partition: int, partitions: int) -> list[str]:
        slots = slots_of_partition(partition, partitions)
        return [self.queue_inboxes(queue, slot) for slot in slots]

    def log_consumer(self, queue: str, partition: int) -> str:
        return f"{_token(queue)}-{partition}"

    def timer(self, key: TimerKey) -> str:
        """The subject of a timer's schedule."""
        return f"{self.base}_timer.{_token(key.address.workflow_id)}.{_token(key.run)}.{key.n}"

    @property
    def all_timers(self) -> str:
        return f"{self.base}_timer.*.*.*"

    def run_timers(self, workflow_id: str, run: str) -> str:
        return f"{self.base}_timer.{_token(workflow_id)}.{_token(run)}.*"

    def parse_timer(self, subject: str) -> tuple[str, str, int]:
        """The workflow id, run and number; the address is in the schedule's target."""
        workflow_id, run, n = self._tokens(subject, "_timer", 3)
        return _text(workflow_id), _text(run), int(n)

    def beat(self, key: TaskKey) -> str:
        return f"{self.base}_beat.{_token(key.workflow_id)}.{_token(key.run)}.{key.n}"

    def run_beats(self, workflow_id: str, run: str) -> str:
        return f"{self.base}_beat.{_token(workflow_id)}.{_token(run)}.*"

    # ---------------------------------------------------------------- TASKS

    @cached_property
    def tasks_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_TASKS"

    @property
    def tasks_subjects(self) -> list[str]:
        return [f"{self.base}_task.>"]

    @cached_property
    def _tasks(self) -> str:
        return f"{self.base}_task."

    def task(self, key: TaskKey) -> str:
        queue, workflow_id = _token(key.queue), _token(key.workflow_id)
        return f"{self._tasks}{queue}.{workflow_id}.{_token(key.run)}.{key.n}"

    def parse_task(self, subject: str) -> TaskKey:
        if not subject.startswith(self._tasks):
            raise ValueError(f"not a task's subject: {subject!r}")
        parts = subject[len(self._tasks) :].split(".")
        if len(parts) != 4:
            raise ValueError(f"not a task's subject: {subject!r}")
        return TaskKey(_text(parts[0]), _text(parts[1]), _text(parts[2]), int(parts[3]))

    def queue_tasks(self, queue: str) -> str:
        return f"{self._tasks}{_token(queue)}.>"

    def run_tasks(self, workflow_id: str, run: str) -> str:
        """A run's tasks on every queue."""
        return f"{self._tasks}*.{_token(workflow_id)}.{_token(run)}.*"

    def task_consumer(self, queue: str) -> str:
        return _token(queue)

    # -------------------------------------------------------------- ARCHIVE

    @cached_property
    def archive_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_ARCHIVE"

    @property
    def archive_subjects(self) -> list[str]:
        return [f"{self.base}_archive.>"]

    def archive(self, workflow_id: str, run: str) -> str:
        return f"{self.base}_archive.{_token(workflow_id)}.{_token(run)}"

    def archived_runs(self, workflow_id: str) -> str:
        return f"{self.base}_archive.{_token(workflow_id)}.*"

    def parse_archive(self, subject: str) -> tuple[str, str]:
        """The workflow id and the run."""
        workflow_id, run = self._tokens(subject, "_archive", 2)
        return _text(workflow_id), _text(run)

    # ------------------------------------------------- EVENTS, DLQ and AUDIT

    @cached_property
    def events_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_EVENTS"

    @property
    def events_subjects(self) -> list[str]:
        return [f"{self.base}events.>"]

    def event(self, workflow_type: str, workflow_id: str) -> str:
        return f"{self.base}events.{_token(workflow_type)}.{_token(workflow_id)}"

    def parse_event(self, subject: str) -> tuple[str, str]:
        """The workflow type and id."""
        workflow_type, workflow_id = self._tokens(subject, "events", 2)
        return _text(workflow_type), _text(workflow_id)

    @cached_property
    def dead_letters_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_DLQ"

    @property
    def dead_letters_subjects(self) -> list[str]:
        return [f"{self.base}_dlq.>"]

    def dead_letter(self, kind: str, workflow_id: str) -> str:
        return f"{self.base}_dlq.{_token(kind)}.{_token(workflow_id)}"

    def parse_dead_letter(self, subject: str) -> tuple[str, str]:
        """The kind and the workflow id."""
        kind, workflow_id = self._tokens(subject, "_dlq", 2)
        return _text(kind), _text(workflow_id)

    @cached_property
    def audit_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_AUDIT"

    @property
    def audit_subjects(self) -> list[str]:
        return [f"{self.base}_audit.>"]

    def audit(self, *words: str) -> str:
        return f"{self.base}_audit." + ".".join(map(_token, words))

    # -------------------------------------------------------------- INGRESS

    @cached_property
    def ingress_stream(self) -> str:
        return f"{self.stream_prefix}_{self.namespace}_INGRESS"

    @property
    def ingress_subjects(self) -> list[str]:
        return [*self.ingress_requests, f"{self.base}_cron.>"]

    @property
    def ingress_requests(self) -> list[str]:
        """What the door's consumer takes: never the cron schedules, an ack would delete them."""
        return [f"{self.base}start.>", f"{self.base}signal.>", f"{self.base}cancel.>"]

    @property
    def ingress_consumer(self) -> str:
        return "ingress"

    def start(self, workflow_type: str, workflow_id: str | None = None) -> str:
        tail = "" if workflow_id is None else f".{_token(workflow_id)}"
        return f"{self.base}start.{_token(workflow_type)}{tail}"

    def signal(self, workflow_id: str, name: str) -> str:
        return f"{self.base}signal.{_token(workflow_id)}.{_token(name)}"

    def cancel(self, workflow_id: str) -> str:
        return f"{self.base}cancel.{_token(workflow_id)}"

    def cron(self, *words: str) -> str:
        return f"{self.base}_cron." + ".".join(map(_token, words))

    def parse_ingress(self, subject: str) -> tuple[RequestKind, tuple[str, ...]]:
        """The kind and the tokens after it as published, not decoded: outsiders wrote them."""
        tokens = subject[len(self.base) :].split(".")
        if not subject.startswith(self.base) or tokens[0] not in ("start", "signal", "cancel"):
            raise ValueError(f"not a request's subject: {subject!r}")
        return tokens[0], tuple(tokens[1:])

    # ------------------------------------------- messages, state, other stores

    def message(self, topic: tuple[str, ...]) -> str:
        return f"{self.base}_msg." + ".".join(map(_token, topic))

    def api(self, operation: str) -> str:
        return f"{self.base}api.{operation}"

    def state_notice(self, workflow_id: str) -> str:
        """Where the state bucket republishes an entry."""
        return f"{self.base}_state.{_token(workflow_id)}"

    def parse_state_notice(self, subject: str) -> str:
        return _text(self._tokens(subject, "_state", 1)[0])

    @cached_property
    def _store_prefix(self) -> str:
        return f"{self.stream_prefix.lower()}_{self.namespace}"

    @cached_property
    def state_bucket(self) -> str:
        return f"{self._store_prefix}_state"

    @cached_property
    def members_bucket(self) -> str:
        return f"{self._store_prefix}_members"

    @cached_property
    def blobs_store(self) -> str:
        return f"{self._store_prefix}_blobs"

    @property
    def state_stream(self) -> str:
        return f"KV_{self.state_bucket}"

    @property
    def members_stream(self) -> str:
        return f"KV_{self.members_bucket}"

    @property
    def blobs_stream(self) -> str:
        return f"OBJ_{self.blobs_store}"

    def state_key(self, workflow_id: str) -> str:
        """The subject of a state entry."""
        return f"$KV.{self.state_bucket}.{_token(workflow_id)}"

    def parse_state_key(self, subject: str) -> str:
        start = f"$KV.{self.state_bucket}."
        if not subject.startswith(start):
            raise ValueError(f"not a state entry's subject: {subject!r}")
        return _text(subject[len(start) :])

    def member_key(self, group: tuple[str, ...], member: str) -> str:
        """The subject of a member's entry."""
        return f"$KV.{self.members_bucket}." + ".".join(map(_token, (*group, member)))
