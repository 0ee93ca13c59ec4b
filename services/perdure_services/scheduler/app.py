"""Schedulers of the engine, one per task queue, as a service."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from perdure.authoring.app import App
from perdure.converter import DataConverter
from perdure.core.durations import nanoseconds
from perdure.engine.scheduler.context import SchedulerOptions
from perdure.engine.scheduler.scheduler import Scheduler
from perdure.engine.scheduler.strikes import record
from perdure.ports.backend import Backend
from perdure.worker.build import build_id
from perdure_services._shell.errors import Refused
from perdure_services._shell.loading import load_app
from perdure_services._shell.metrics import CountingObserver, count_replacements
from perdure_services._shell.supervision import Ward
from perdure_services.scheduler.settings import SchedulerSettings


class SchedulerService:
    """Runs the workflows of ``app`` on every task queue of the settings."""

    name = "scheduler"

    def __init__(self, settings: SchedulerSettings, app: App, ward: Ward | None = None) -> None:
        self._settings = settings
        self._app = app
        self._ward = ward or Ward()
        count_replacements(self._ward.replaced)
        self._build = settings.build_id or build_id(app.workflows)

    @asynccontextmanager
    async def running(self, backend: Backend) -> AsyncGenerator["RunningSchedulers"]:
        await self._record_strikes(backend)
        schedulers = [self._scheduler(backend, queue) for queue in self._settings.task_queues]
        async with AsyncExitStack() as stack:
            for scheduler in schedulers:
                await stack.enter_async_context(scheduler)
            yield RunningSchedulers(backend, schedulers)

    async def _record_strikes(self, backend: Backend) -> None:
        """What the processes before this one died of, before anything of it runs again."""
        for struck in self._ward.strikes:
            await record(backend, struck, build=self._build)
        self._ward.recorded()

    def _scheduler(self, backend: Backend, queue: str) -> Scheduler:
        return Scheduler(
            backend,
            self._app,
            converter=DataConverter.default().payload_converter,
            options=SchedulerOptions(
                task_queue=queue,
                identity=self._settings.identity,
                build=self._build,
                max_cached=self._settings.max_cached_workflows,
                retention=nanoseconds(self._settings.state_retention),
            ),
            observer=CountingObserver(),
            watch=self._ward.board,
            reclaim=self._ward.replaced > 0,
            refused=self._ward.refused,
        )


class RunningSchedulers:
    """Ready when each owns partitions, or stands by for others that do."""

    def __init__(self, backend: Backend, schedulers: Sequence[Scheduler]) -> None:
        self._backend = backend
        self._schedulers = schedulers

    async def why_not_ready(self) -> str:
        for scheduler in self._schedulers:
            options = scheduler.context.options
            members = await self._backend.members.list(("scheduler", options.task_queue))
            if not scheduler.owned and not set(members) - {options.identity}:
                return f"no partition of task queue {options.task_queue!r} is owned yet"
        return ""

    def hurry(self) -> None:
        """Turns under way are short: there is nothing to cut."""


def load_scheduler(settings: SchedulerSettings, ward: Ward) -> SchedulerService:
    """The service with the code that its settings name. Raises Refused."""
    app = load_app(settings.imports)
    if not app.workflows:
        raise Refused(
            f"{', '.join(settings.imports)} holds no workflow: a scheduler needs one, activities "
            "are for `perdure worker`"
        )
    return SchedulerService(settings, app, ward)
