"""A scheduler that hears of no other, so that it believes to own every partition: ``python -m``.

Two of these on one namespace are what ownership is there to prevent and never relied on for.
"""

import dataclasses
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from perdure.ports.backend import Backend
from perdure_services._shell.entry import main
from perdure_services._shell.loading import load_app
from perdure_services.scheduler.app import RunningSchedulers, SchedulerService
from perdure_services.scheduler.settings import SchedulerSettings


class Nobody:
    """A membership without members, whoever says that it lives."""

    async def beat(self, group: tuple[str, ...], member: str, data: bytes, *, ttl: int) -> None:
        pass

    async def leave(self, group: tuple[str, ...], member: str) -> None:
        pass

    async def list(self, group: tuple[str, ...]) -> dict[str, bytes]:
        return {}


class LoneScheduler(SchedulerService):
    """The product's service over ports that hide everybody else."""

    @asynccontextmanager
    async def running(self, backend: Backend) -> AsyncGenerator[RunningSchedulers]:
        async with super().running(dataclasses.replace(backend, members=Nobody())) as running:
            yield running


if __name__ == "__main__":
    sys.exit(
        main(
            SchedulerSettings, lambda settings: LoneScheduler(settings, load_app(settings.imports))
        )
    )
