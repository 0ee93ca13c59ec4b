"""Activity workers of the engine, one per task queue, as a service."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from perdure.authoring.app import App
from perdure.converter import DataConverter
from perdure.core.durations import nanoseconds
from perdure.engine.activities.worker import ActivityWorker
from perdure.ports.backend import Backend
from perdure_services._shell.errors import Refused
from perdure_services._shell.loading import load_app
from perdure_services._shell.metrics import CountedAttempts
from perdure_services.activity_worker.settings import ActivityWorkerSettings


class ActivityWorkerService:
    """Runs the activities of ``app`` on every task queue of the settings."""

    name = "activity-worker"

    def __init__(self, settings: ActivityWorkerSettings, app: App) -> None:
        self._settings = settings
        self._app = app

    @asynccontextmanager
    async def running(self, backend: Backend) -> AsyncGenerator["RunningWorkers"]:
        workers = [self._worker(backend, queue) for queue in self._settings.task_queues]
        async with AsyncExitStack() as stack:
            for worker in workers:
                await stack.enter_async_context(worker)
            running = RunningWorkers(backend, workers)
            yield running

    def _worker(self, backend: Backend, queue: str) -> ActivityWorker:
        return ActivityWorker(
            backend,
            self._app,
            task_queue=queue,
            converter=DataConverter.default().payload_converter,
            max_concurrent=self._settings.max_concurrent_activities,
            identity=self._settings.identity,
            graceful_shutdown_timeout=nanoseconds(self._settings.grace),
            on_attempt=CountedAttempts(),
        )


class RunningWorkers:
    """Ready while each takes tasks."""

    def __init__(self, backend: Backend, workers: Sequence[ActivityWorker]) -> None:
        self._backend = backend
        self._workers = workers

    async def why_not_ready(self) -> str:
        for worker in self._workers:
            if not worker.is_running:
                return f"the worker of task queue {worker.task_queue!r} does not run"
            await self._backend.members.list(("worker", worker.task_queue))
        return ""

    def hurry(self) -> None:
        for worker in self._workers:
            worker.hurry()


def load_worker(settings: ActivityWorkerSettings) -> ActivityWorkerService:
    """The service with the code that its settings name. Raises Refused."""
    app = load_app(settings.imports)
    if not app.activities:
        raise Refused(
            f"{', '.join(settings.imports)} holds no activity: an activity worker needs one, "
            "workflows are for `perdure scheduler`"
        )
    return ActivityWorkerService(settings, app)
