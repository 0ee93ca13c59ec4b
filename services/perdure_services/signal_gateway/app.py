"""The drain of the durable front door, as a service."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from perdure.engine.ingress import GROUP, IngressDrain
from perdure.ports.backend import Backend
from perdure_services._shell.metrics import count_request
from perdure_services.signal_gateway.settings import GatewaySettings


class GatewayService:
    """Makes starts and events of what anyone published to the durable subjects."""

    name = "signal-gateway"

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def running(self, backend: Backend) -> AsyncGenerator["RunningGateway"]:
        drain = IngressDrain(
            backend,
            member=self._settings.identity,
            task_queue=self._settings.task_queue,
            patience=self._settings.patience.total_seconds(),
            credit=self._settings.credit,
            on_outcome=count_request,
        )
        # Before the door opens: that JetStream answers at all.
        await backend.members.list(GROUP)
        async with drain:
            yield RunningGateway(backend, drain, self._settings.identity)


class RunningGateway:
    """Ready while it drains, or stands by for another that does."""

    def __init__(self, backend: Backend, drain: IngressDrain, identity: str) -> None:
        self._backend = backend
        self._drain = drain
        self._identity = identity

    async def why_not_ready(self) -> str:
        members = await self._backend.members.list(GROUP)
        if not self._drain.is_draining and not set(members) - {self._identity}:
            return "the durable front door is not open yet"
        return ""

    def hurry(self) -> None:
        """What is in hand is offered to the next drainer: there is nothing to cut."""


def load_gateway(settings: GatewaySettings) -> GatewayService:
    return GatewayService(settings)
