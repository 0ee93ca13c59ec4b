"""Running services in one process: health first, then NATS, then work; and an orderly end.

NATS may be away when a process starts: it says so, keeps trying, and is not ready meanwhile. What
no retry can help (an old server, missing streams that it may not make) ends it with exit code 2.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from perdure.adapters.jetstream.backend import connect
from perdure.adapters.jetstream.errors import ServerTooOld
from perdure.adapters.jetstream.topology import TopologyError
from perdure.core.durations import SECOND, nanoseconds
from perdure.ports.errors import PortError
from perdure_services._shell.errors import ExitCode, Refused
from perdure_services._shell.health import HealthServer
from perdure_services._shell.metrics import count_refusal
from perdure_services._shell.service import Running, Service, why_not_ready
from perdure_services._shell.settings import ServiceSettings
from perdure_services._shell.store_watch import StoreWatch

_LAST_WORDS: Final = 15.0
"""Seconds beyond the grace in which everything must have ended."""
_ONE_TRY: Final = 2.0
_PAUSE: Final = 1.0
_SETTLING, _GLANCE = 10.0, 0.05
_LONGEST_PAUSE: Final = 5.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("perdure.service")


class Shell:
    """One process's services, from start to end."""

    def __init__(
        self,
        services: Sequence[Service],
        settings: ServiceSettings,
        *,
        on_ready: Callable[[HealthServer], None] | None = None,
    ) -> None:
        self._services = services
        self._settings = settings
        self._on_ready = on_ready
        self._name = "+".join(service.name for service in services)
        self._running: list[Running] = []
        self._trouble = f"still connecting to {settings.connect_options().addresses}"
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._works = False
        self._store = StoreWatch()
        self.health = HealthServer(
            host=settings.health_host,
            port=settings.health_port,
            any_port=settings.any_health_port,
            ready=self.why_not_ready,
            remark=lambda: self._store.remark,
        )

    async def run(self) -> None:
        """Serve until a signal. Raises Refused when it can't begin and no retry helps."""
        loop = asyncio.get_running_loop()
        heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        for number in heard:
            loop.add_signal_handler(number, self._signalled, number)
        try:
            await self.health.start()
            await self._serve()
        finally:
            await self.health.stop()
            for number in heard:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """End in order; the second time, at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            if not self._works and self._work is not None:
                self._work.cancel()
            return
        for one in self._running:
            one.hurry()

    async def why_not_ready(self) -> str:
        """Empty when every service does its part."""
        if self._stopping.is_set():
            return "stopping"
        if not self._works:
            return self._trouble
        for one in self._running:
            reason = await why_not_ready(one)
            if reason:
                return reason
        return ""

    def _signalled(self, number: signal.Signals) -> None:
        name = signal.Signals(number).name
        if self._stopping.is_set():
            _logger.warning("%s again: %s ends at once", name, self._name)
        else:
            _logger.info("%s: %s stops; a second signal hurries it", name, self._name)
        self.stop()

    async def _serve(self) -> None:
        self._work = asyncio.get_running_loop().create_task(self._begin_and_serve())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((self._work, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        limit = nanoseconds(self._settings.grace) / SECOND + _LAST_WORDS
        if not self._work.done():
            await asyncio.wait((self._work,), timeout=limit)
        if not self._work.done():
            _logger.error("%s did not end within %g s: what it holds goes back", self._name, limit)
            self._work.cancel()
            await asyncio.wait((self._work,), timeout=_LAST_WORDS)
        if not self._work.done() or self._work.cancelled():
            return
        self._work.result()

    async def _begin_and_serve(self) -> None:
        async with AsyncExitStack() as stack:
            await self._begin(stack)
            self._works = True
            _calm_the_collector()
            _logger.info(
                "%s serves namespace %r on %s",
                self._name,
                self._settings.namespace,
                self._settings.connect_options().addresses,
            )
            if self._on_ready is not None:
                await self._settle()
                self._on_ready(self.health)
            await self._stopping.wait()
        _logger.info("%s stopped", self._name)

    async def _settle(self) -> None:
        """Wait a moment until every service says that it is ready: partitions and doors are taken."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLING):
                while not self._stopping.is_set() and await self.why_not_ready():  # noqa: ASYNC110
                    await asyncio.sleep(_GLANCE)

    async def _begin(self, stack: AsyncExitStack) -> None:
        """Connect and start every service, again and again while the store is away."""
        options = self._settings.jetstream_options(
            name=f"perdure {self._name} {self._settings.identity}",
            start_timeout=_ONE_TRY,
            on_refusal=count_refusal,
        )
        pause = _PAUSE
        while True:
            try:
                async with AsyncExitStack() as attempt:
                    backend = await attempt.enter_async_context(connect(options))
                    await attempt.enter_async_context(self._store.watching(backend))
                    running = [
                        await attempt.enter_async_context(service.running(backend))
                        for service in self._services
                    ]
                    stack.push_async_exit(attempt.pop_all())
                    self._running = running
                    return
            except (ServerTooOld, TopologyError) as error:
                raise Refused(str(error)) from error
            except PortError as error:
                self._trouble = str(error)
                _logger.warning("%s  Trying again; not ready until then.", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def run_services(
    make: Callable[[], Sequence[Service]],
    settings: ServiceSettings,
    *,
    on_ready: Callable[[HealthServer], None] | None = None,
) -> ExitCode:
    """Run services until a signal; the exit code. ``make`` is called inside the event loop."""

    async def serve() -> None:
        await Shell(make(), settings, on_ready=on_ready).run()

    return run_guarded(serve())


def run_guarded(work: Coroutine[Any, Any, None]) -> ExitCode:
    """Run to the end on uvloop where that is installed; a refusal is a log line and exit code 2."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work)
    except Refused as error:
        _logger.error("%s", error)
        return ExitCode.REFUSED
    except KeyboardInterrupt:
        return ExitCode.OK
    return ExitCode.OK


def _calm_the_collector() -> None:
    """What a service makes for a workflow is mostly freed without the garbage collector, whose
    default is to look after every 2,000 objects: a fifth of a busy scheduler's time. Runs that leave
    memory before their end need it: it still looks through everything after some ten thousand."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 5, 5)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return None
    return uvloop.new_event_loop
