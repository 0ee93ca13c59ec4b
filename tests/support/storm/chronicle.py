"""Everything that happened in a storm, as nobody inside it could know: for the judges and the trace.

It listens to the store itself, not through any process, so no fault keeps anything from it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.storm.trace import Trace

from perdure.adapters.memory.backend import MemoryStore
from perdure.core.state import StateEntry, decode_state
from perdure.core.tasks import ActivityTask, decode_task
from perdure.ports.addresses import Lane, Stored, TaskKey

if TYPE_CHECKING:
    from support.storm.process import Life


@dataclass(eq=False)
class Execution:
    """Activity code that ran: once, in one life of one worker. ``how`` it ended: returned, raised,
    cancelled, or nothing yet."""

    key: str
    name: str
    attempt: int
    life: Life
    began: float
    ended: float = 0.0
    how: str = ""


@dataclass(eq=False)
class Offer:
    """A task handed to a worker. ``faults`` met it or what its holder said of it; ``said`` is the
    last word."""

    life: Life
    seq: int
    attempt: int
    at: float
    faults: list[str] = field(default_factory=list[str])
    said: str = ""


@dataclass(eq=False)
class TaskMessage:
    """A message that lay in a task queue."""

    key: TaskKey
    task: ActivityTask
    at: float


class Chronicle:
    """What the store took, and what the workers were given and did."""

    def __init__(self, store: MemoryStore, trace: Trace | None) -> None:
        self._server = store._server
        self.trace = trace
        self.log: defaultdict[str, list[tuple[Lane, Stored]]] = defaultdict(list)
        """By workflow id, also what was purged since."""
        self.state: defaultdict[str, list[StateEntry]] = defaultdict(list)
        self.tasks: dict[int, TaskMessage] = {}
        self.offers: defaultdict[int, list[Offer]] = defaultdict(list)
        self.executions: defaultdict[str, list[Execution]] = defaultdict(list)
        """By run and number of the activity."""
        self.stored_at: dict[int, float] = {}
        self.letters: list[bytes] = []
        """Dead letters, also those that were removed since."""
        self._listen()

    def _listen(self) -> None:
        server = self._server

        def on_log(message: Any) -> None:
            address, lane = message.subject
            self.log[address.workflow_id].append((lane, message.stored))
            self.stored_at[message.stored.seq] = now()

        def on_task(message: Any) -> None:
            task = decode_task(message.stored.data)
            self.tasks[message.stored.seq] = TaskMessage(message.subject, task, now())

        def on_state(topic: Any, word: bytes) -> None:
            self.state[topic].append(decode_state(word))
            tell(topic, word)

        server.log.listen(on_log)
        server.tasks.listen(on_task)
        server.letters.listen(lambda message: self.letters.append(message.stored.data))
        tell, server.state_changes.tell = server.state_changes.tell, on_state

    def saw(self, life: Life, name: str, about: tuple[Any, ...], fault: str, outcome: Any) -> None:
        """A call of a process is over."""
        if name.startswith("tasks.") and about and hasattr(about[0], "ack"):
            self._saw_task(life, name, about[0], fault)
        if self.trace is not None:
            self.trace.call(now(), str(life), name, about, fault, outcome)

    def _saw_task(self, life: Life, name: str, delivery: Any, fault: str) -> None:
        offers = self.offers[delivery.message.seq]
        if name == "tasks.delivery":
            offers.append(Offer(life, delivery.message.seq, delivery.attempt, now()))
        for offer in offers:
            if offer.life is life and offer.attempt == delivery.attempt:
                offer.faults += [f"{fault} {name}"] if fault else []
                offer.said = name if name != "tasks.delivery" else offer.said

    def tell(self, who: object, what: str) -> None:
        """Something worth a line of the trace."""
        if self.trace is not None:
            self.trace.say(now(), str(who), what)

    def begins(self, key: str, name: str, attempt: int, life: Life) -> Execution:
        execution = Execution(key, name, attempt, life, now())
        self.executions[key].append(execution)
        if self.trace is not None:
            self.trace.say(now(), str(life), f"runs {name}, attempt {attempt}", key)
        return execution

    def records(self, workflow_id: str) -> list[Stored]:
        """Every record that was ever committed for an id, in order."""
        return [stored for lane, stored in self.log[workflow_id] if lane is Lane.HISTORY]

    def events(self, workflow_id: str) -> list[tuple[Lane, Stored]]:
        """Everything that ever lay in an id's inbox."""
        return [item for item in self.log[workflow_id] if item[0] is not Lane.HISTORY]


def now() -> float:
    return asyncio.get_running_loop().time()


__all__ = ["Chronicle", "Execution", "Offer", "TaskMessage", "now"]
