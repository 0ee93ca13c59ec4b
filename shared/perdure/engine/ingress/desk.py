"""One request of the durable front door, from its bytes to its outcome.

Every refusal is dead-lettered and answered, every success answered, and only then the request is
settled. An unreachable store is waited for, as long as it takes.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from perdure.core.errors import (
    InvalidInputError,
    StoreFullError,
    UnavailableError,
    WorkflowAlreadyStartedError,
    WorkflowNotFoundError,
)
from perdure.core.events import WorkflowSignaled
from perdure.engine.admission import Admission
from perdure.engine.delivery import WorkflowClosedError, deliver
from perdure.engine.ingress.lanes import Held, Lanes, Parked
from perdure.engine.ingress.outcomes import (
    UNKNOWN_WORKFLOW,
    WORKFLOW_CLOSED,
    Accepted,
    Outcome,
    Refused,
    answer,
    bury,
    refusal_of_duplicate,
)
from perdure.engine.ingress.requests import EventRequest, read_request
from perdure.engine.starts import StartRequest, start
from perdure.engine.waiting import wait_for_state
from perdure.ports.backend import Backend
from perdure.ports.errors import PortError
from perdure.ports.ingress import IngressDelivery

type Request = StartRequest | EventRequest | InvalidInputError

_LONGEST_PAUSE: Final = 5.0
_TRIES: Final = 3
_LOOK_AGAIN: Final = 0.5
_logger = logging.getLogger("perdure.ingress")


class Desk:
    """Handles the requests that lanes bring, each in its turn."""

    def __init__(
        self,
        backend: Backend,
        *,
        task_queue: str,
        patience: float,
        admission: Admission,
        on_outcome: Callable[[str, str], None] | None = None,
    ) -> None:
        self._backend = backend
        self._admission = admission
        self._task_queue = task_queue
        self._patience = patience
        self._on_outcome = on_outcome
        self._lanes: Lanes[Request] | None = None

    def attach(self, lanes: Lanes[Request]) -> None:
        """Where its requests come from, so that it can ask what else is in hand."""
        self._lanes = lanes

    @property
    def has_parked(self) -> bool:
        """Whether starts wait for room in the store."""
        return self._lanes is not None and self._lanes.has_parked

    async def close(self) -> None:
        if self._lanes is not None:
            await self._lanes.close()

    def read(self, delivery: IngressDelivery) -> tuple[str, Request]:
        """The request and its lane: the workflow id, or a lane of its own when it can't be read."""
        self._backend.clock.observe(delivery.message.timestamp)
        try:
            request = read_request(delivery, task_queue=self._task_queue)
        except InvalidInputError as error:
            return f"\0{delivery.message.seq}", error
        return request.workflow_id, request

    async def handle(self, held: Held[Request]) -> None:
        """Do it, and say what came of it; returns when it may be settled. Raises Parked for a start
        that there is no room for: events of those under way must not wait behind it."""
        pause, tries = 0.1, 0
        while True:
            try:
                outcome = await self._decide(held)
                await self._report(held, outcome)
                return
            except (UnavailableError, PortError) as error:
                if isinstance(error, StoreFullError) and isinstance(held.request, StartRequest):
                    raise Parked from error
                _logger.warning("ingress request %d waits: %s", held.seq, error)
            except Exception as error:
                # A fault of ours: the id's later requests must not wait behind it for ever.
                tries += 1
                _logger.exception("ingress request %d failed (%d)", held.seq, tries)
                if tries >= _TRIES and await self._give_up(held, error):
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _decide(self, held: Held[Request]) -> Outcome:
        request = held.request
        try:
            match request:
                case InvalidInputError():
                    return Refused.because(request)
                case StartRequest():
                    outcome = await start(self._backend, request, admission=self._admission)
                    status = "started" if outcome.new else "existing"
                    return Accepted(id=request.workflow_id, run_id=outcome.run, status=status)
                case EventRequest():
                    return await self._deliver(held, request)
        except InvalidInputError as error:
            return Refused.because(error)
        except WorkflowAlreadyStartedError as error:
            return refusal_of_duplicate(error)

    async def _deliver(self, held: Held[Request], request: EventRequest) -> Outcome:
        """Deliver to the id, which may only be about to appear."""
        while True:
            try:
                # What the predecessor at this desk did, nobody knows: any request may be a second.
                delivered = await deliver(
                    self._backend, request.workflow_id, request.event, again=True
                )
            except WorkflowClosedError as error:
                return Refused(ok=False, code=WORKFLOW_CLOSED, message=str(error))
            except WorkflowNotFoundError:
                if not await self._appeared(held, request.workflow_id):
                    return self._unknown(request.workflow_id)
                continue
            status = (
                "signaled" if isinstance(request.event, WorkflowSignaled) else "cancel_requested"
            )
            return Accepted(id=request.workflow_id, run_id=delivered.run, status=status)

    def _unknown(self, workflow_id: str) -> Refused:
        return Refused(
            ok=False,
            code=UNKNOWN_WORKFLOW,
            message=f"no workflow of id {workflow_id!r} appeared within {self._patience:g} s",
        )

    async def _appeared(self, held: Held[Request], workflow_id: str) -> bool:
        """Wait for the id while its patience lasts, and until all that came before is settled."""
        loop = asyncio.get_running_loop()
        while True:
            left = held.since + self._patience - loop.time()
            if left <= 0 and (self._lanes is None or self._lanes.is_oldest(held)):
                return False
            try:
                await wait_for_state(
                    self._backend,
                    workflow_id,
                    lambda entry: entry is not None,
                    timeout=left if left > 0 else _LOOK_AGAIN,
                )
            except TimeoutError:
                continue
            return True

    async def _report(self, held: Held[Request], outcome: Outcome) -> None:
        if isinstance(outcome, Refused):
            request = held.request
            known = "" if isinstance(request, InvalidInputError) else request.workflow_id
            await bury(self._backend, held.delivery, outcome, known)
        await answer(self._backend, held.delivery, outcome)
        if self._on_outcome is not None:
            word = outcome.code if isinstance(outcome, Refused) else outcome.status
            self._on_outcome(held.delivery.kind, word)

    async def _give_up(self, held: Held[Request], error: Exception) -> bool:
        """Dead-letter a request that perdure itself can't handle."""
        why = Refused(ok=False, code="internal", message=f"{type(error).__name__}: {error}")
        try:
            await self._report(held, why)
        except PortError as unreachable:
            _logger.warning("ingress request %d waits: %s", held.seq, unreachable)
            return False
        return True
