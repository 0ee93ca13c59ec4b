"""A host that runs workflow code on a plain asyncio loop and records what it asks for."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

from perdure.core.host import ActivityRequest
from perdure.core.info import Info
from perdure.core.payloads import PayloadConverter


class RecordingHost:
    """Implements ``perdure.core.host.Host``. Activities answer from ``results`` by name; a result
    that is an exception is raised. Time passes by sleeping alone."""

    def __init__(
        self, converter: PayloadConverter, *, results: dict[str, Any] | None = None
    ) -> None:
        self.converter = converter
        self.results = results or {}
        self.requests: list[ActivityRequest] = []
        self.args: list[Sequence[Any]] = []
        self.sleeps: list[tuple[int, str]] = []
        self.waits: list[tuple[int | None, str]] = []
        self.time = 1_700_000_000_000_000_000
        self.random = Random(7)
        self.is_replaying = False
        self.is_read_only = False
        self.cancellation_reason: str | None = None
        self.history_length = 0
        self.all_handlers_finished = True
        self.instance: Any = None
        self.info = Info(
            workflow_id="order-1",
            run_id="run-1",
            workflow_type="Order",
            task_queue="orders",
            namespace="default",
            start_time=datetime(2026, 1, 1, tzinfo=UTC),
            workflow_start_time=datetime(2026, 1, 1, tzinfo=UTC),
        )

    def run[T](self, main: Coroutine[Any, Any, T]) -> T:
        """Run ``main`` to its end on a loop that carries this host."""
        with asyncio.Runner() as runner:
            setattr(runner.get_loop(), "perdure_host", self)  # noqa: B010 - not a loop's attribute
            return runner.run(main)

    def now(self) -> int:
        return self.time

    def start_activity(self, request: ActivityRequest, args: Sequence[Any]) -> asyncio.Task[Any]:
        self.requests.append(request)
        self.args.append(args)
        return asyncio.get_running_loop().create_task(self._answer(request.name, args))

    async def _answer(self, name: str, args: Sequence[Any]) -> Any:
        result = self.results.get(name)
        if isinstance(result, BaseException):
            raise result
        return result(*args) if callable(result) else result

    async def sleep(self, duration: int, summary: str) -> None:
        self.sleeps.append((duration, summary))
        self.time += max(duration, 0)

    async def wait_condition(
        self, condition: Callable[[], bool], timeout: int | None, summary: str
    ) -> bool:
        self.waits.append((timeout, summary))
        if condition():
            return True
        if timeout is None:
            raise AssertionError("the condition doesn't hold and there is no timeout")
        self.time += timeout
        return condition()
