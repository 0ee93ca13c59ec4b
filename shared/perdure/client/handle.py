"""A workflow that was started, or that an id names."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, cast

from perdure.authoring.converter import DataConverter, DefaultPayloadConverter
from perdure.authoring.definitions import query_name, query_result_type, signal_name
from perdure.authoring.signatures import signature_of
from perdure.client.arguments import (
    UNSET,
    checked_id,
    checked_seconds,
    checked_text,
    encoded_arguments,
    positional,
)
from perdure.client.description import WorkflowExecutionDescription, describe_entry
from perdure.client.histories import WorkflowHistory, archived_entry, find_history
from perdure.client.questions import query, waiting_for
from perdure.core.definitions import Signature
from perdure.core.errors import (
    InvalidInputError,
    WorkflowFailureError,
    WorkflowNotFoundError,
)
from perdure.core.events import (
    WorkflowCancelRequested,
    WorkflowSignaled,
    WorkflowTerminateRequested,
)
from perdure.core.failures import to_exception
from perdure.core.payloads import NULL
from perdure.core.state import StateEntry, decode_state
from perdure.engine.delivery import OutsideEvent, send
from perdure.engine.patience import DEFAULT_TIMEOUT, Deadline
from perdure.engine.payloads import PayloadStore
from perdure.engine.waiting import wait_for_state
from perdure.ports.backend import Backend

_PLAIN = DefaultPayloadConverter()


class Owner(Protocol):
    """What a handle needs of its client."""

    @property
    def backend(self) -> Backend: ...
    @property
    def namespace(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def data_converter(self) -> DataConverter: ...

    def newest(self, workflow_id: str, seq: int = 0) -> int:
        """The newest sequence known of an id; ``seq`` is known from now on."""
        ...


class WorkflowHandle[SelfType, ReturnType]:
    """Speaks to the workflow of ``id``. Making one asks nobody: an unknown id shows on use.

    With a ``run_id`` from :meth:`Client.get_workflow_handle` everything is about that run. The
    handle of a start awaits, cancels, terminates and describes the run it started; its signals and
    queries go to whichever run of the id is current.
    """

    def __init__(
        self,
        client: Owner,
        id: str,
        *,
        run_id: str | None = None,
        result_run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: Any = None,
    ) -> None:
        self._client = client
        self._id = checked_id(id, "id")
        self._pinned = checked_id(run_id, "run_id") if run_id else ""
        self._own = result_run_id or run_id or ""
        self._first = first_execution_run_id
        self._result_type: Any = Any if result_type is None else result_type

    def __repr__(self) -> str:
        return f"WorkflowHandle(id={self._id!r}, run_id={self.run_id!r})"

    @property
    def id(self) -> str:
        return self._id

    @property
    def run_id(self) -> str | None:
        """The run that was started or asked for; None for whichever is current."""
        return self._own or None

    @property
    def result_run_id(self) -> str | None:
        return self._own or None

    @property
    def first_execution_run_id(self) -> str | None:
        return self._first

    async def result(
        self,
        timeout: timedelta | float | None = None,
        *,
        follow_runs: bool = True,
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> ReturnType:
        """Wait for the end and return what the workflow returned.

        Raises:
            WorkflowFailureError: it did not complete; the cause says how it ended.
            WorkflowNotFoundError: no such workflow, or its retention time is over.
            TimeoutError: it still runs after ``timeout`` (the wait ends, not the workflow).
        """
        entry = await self._closed(timeout if timeout is not None else rpc_timeout)
        store = PayloadStore(self._client.backend.blobs)
        if entry.failure is not None:
            failure = await store.restore_struct(entry.failure, owner=self._id)
            cause = to_exception(failure, self._client.data_converter.payload_converter)
            raise WorkflowFailureError(cause=cause)
        result = await store.restore_one(entry.result or NULL, owner=self._id)
        converter = self._client.data_converter.payload_converter
        return cast("ReturnType", converter.from_payload(result, self._result_type))

    async def signal(
        self,
        signal: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Send a signal; returns once a run is sure to take it.

        Raises InvalidInputError, WorkflowNotFoundError (unknown or closed: nothing is stored),
        UnavailableError.
        """
        name = _name_of(signal, signal_name, "signal")
        values = positional(arg, args)
        event = WorkflowSignaled(
            eid=_request_id(),
            name=name,
            args=encoded_arguments(
                values,
                self._client.data_converter.payload_converter,
                _signature(signal),
                f"signal {name!r}",
            ),
            sender=self._client.identity,
            sent_at=self._client.backend.clock.now(),
        )
        await self._send(event, self._pinned, rpc_timeout)

    async def query(
        self,
        query_or_name: str | Callable[..., Any],
        arg: Any = UNSET,
        *,
        args: Sequence[Any] = (),
        result_type: Any = None,
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> Any:
        """Ask a running or closed workflow; the answer has seen every signal sent before by this
        client. ``status`` is answered for every workflow, without a scheduler.

        Raises WorkflowQueryFailedError: unknown (the text lists the known ones), the handler
        raised, or no scheduler answered in time.
        """
        name = _name_of(query_or_name, query_name, "query")
        converter = self._client.data_converter.payload_converter
        payload = await query(
            self._client.backend,
            self._id,
            run=self._pinned,
            name=name,
            args=encoded_arguments(
                positional(arg, args), converter, _signature(query_or_name), f"query {name!r}"
            ),
            after=self._client.newest(self._id),
            timeout=checked_seconds(rpc_timeout, "rpc_timeout") or DEFAULT_TIMEOUT,
            converter=converter,
        )
        store = PayloadStore(self._client.backend.blobs)
        answer = await store.restore_one(payload, owner=self._id)
        hint = query_result_type(query_or_name) if result_type is None else result_type
        return converter.from_payload(answer, hint)

    async def cancel(
        self,
        reason: str = "",
        *,
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """Ask the workflow to end: its code may clean up first, or refuse."""
        event = WorkflowCancelRequested(eid=_request_id(), reason=checked_text(reason, "reason"))
        await self._send(event, self._own, rpc_timeout)

    async def terminate(
        self,
        *details: Any,
        reason: str = "",
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> None:
        """End the workflow here and now; its code is not asked."""
        converter = self._client.data_converter.payload_converter
        event = WorkflowTerminateRequested(
            eid=_request_id(),
            reason=checked_text(reason, "reason"),
            details=encoded_arguments(details, converter, None, "details"),
        )
        await self._send(event, self._own, rpc_timeout)

    async def describe(
        self,
        *,
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionDescription:
        """How the run stands and what it waits for. Raises WorkflowNotFoundError."""
        deadline = self._deadline("describe", rpc_timeout)
        entry = await self._entry(deadline)
        if entry is None or (self._own and entry.run != self._own):
            entry = await self._archived(self._own, deadline)
        waiting = await waiting_for(self._client.backend, entry) if entry.is_open else None
        return describe_entry(
            entry,
            waiting,
            namespace=self._client.namespace,
            converter=self._client.data_converter.payload_converter,
            plain=_PLAIN,
        )

    async def fetch_history(
        self,
        *,
        rpc_metadata: Mapping[str, str] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowHistory:
        """Everything that happened to the run. Raises WorkflowNotFoundError."""
        deadline = self._deadline("read the history of", rpc_timeout)
        entry = await self._entry(deadline)
        backend = self._client.backend
        found = await deadline.persist(
            lambda: find_history(backend, self._id, run=self._own, entry=entry)
        )
        if found is not None:
            return WorkflowHistory(workflow_id=self._id, run_id=found.run, turns=found.all_turns)
        if entry is not None and entry.is_open and self._own in ("", entry.run):
            return WorkflowHistory(workflow_id=self._id, run_id=entry.run, turns=[])
        raise WorkflowNotFoundError(self._id)

    async def _send(self, event: OutsideEvent, run: str, rpc_timeout: timedelta | None) -> None:
        timeout = checked_seconds(rpc_timeout, "rpc_timeout") or DEFAULT_TIMEOUT
        seq = await send(self._client.backend, self._id, event, run=run, timeout=timeout)
        self._client.newest(self._id, seq)

    async def _closed(self, timeout: timedelta | float | None) -> StateEntry:
        """The entry of the run once it is closed."""
        run = self._own

        def satisfied(entry: StateEntry | None) -> bool:
            nonlocal run
            if entry is None:
                return True
            run = run or entry.run
            return entry.run != run or not entry.is_open

        seconds = checked_seconds(timeout, "timeout")
        try:
            entry = await wait_for_state(self._client.backend, self._id, satisfied, timeout=seconds)
        except TimeoutError as error:
            raise TimeoutError(
                f"workflow {self._id!r} has no result yet after {seconds:g} s; it goes on"
            ) from error
        if entry is not None and entry.run == run:
            return entry
        return await self._archived(run, self._deadline("read the result of", None))

    async def _entry(self, deadline: Deadline) -> StateEntry | None:
        found = await deadline.persist(lambda: self._client.backend.state.read(self._id))
        return None if found is None else decode_state(found[0])

    async def _archived(self, run: str, deadline: Deadline) -> StateEntry:
        """A run that STATE knows no more, out of the archive."""
        backend = self._client.backend
        if not run:
            runs = await deadline.persist(lambda: backend.archive.runs(self._id))
            run = runs[-1] if runs else ""
        entry = (
            await deadline.persist(lambda: archived_entry(backend, self._id, run)) if run else None
        )
        if entry is None:
            raise WorkflowNotFoundError(self._id)
        return entry

    def _deadline(self, what: str, rpc_timeout: timedelta | None) -> Deadline:
        seconds = checked_seconds(rpc_timeout, "rpc_timeout") or DEFAULT_TIMEOUT
        return Deadline(seconds, f"{what} workflow {self._id!r}", reads=True)


def _request_id() -> str:
    return f"req:{uuid.uuid4()}"


def _name_of(
    subject: str | Callable[..., Any], read: Callable[[str | Callable[..., Any]], str], field: str
) -> str:
    try:
        return read(subject)
    except ValueError as error:
        raise InvalidInputError(str(error), field=field) from error


def _signature(subject: str | Callable[..., Any]) -> Signature | None:
    return None if isinstance(subject, str) else signature_of(subject, bound=True)
