"""``dev``: every service in one process, over a nats-server of its own."""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from perdure.adapters.jetstream.embedded import EmbeddedServer, EmbeddedServerError
from perdure.adapters.jetstream.permissions import Role
from perdure.authoring.app import App
from perdure_services._shell.errors import ExitCode, Refused
from perdure_services._shell.health import HealthServer
from perdure_services._shell.loading import load_app
from perdure_services._shell.logs import set_up_logs
from perdure_services._shell.running import Shell, run_guarded
from perdure_services._shell.service import Service
from perdure_services._shell.settings import SupervisedSettings
from perdure_services._shell.supervision import Ward, supervise
from perdure_services.activity_worker.app import ActivityWorkerService
from perdure_services.activity_worker.settings import ActivityWorkerSettings
from perdure_services.cli.commands import Context, Creds, Namespace, Password, Server, User
from perdure_services.cli.failures import report
from perdure_services.cli.output import out
from perdure_services.cli.services import HealthPort, Imports, TaskQueues
from perdure_services.scheduler.app import SchedulerService
from perdure_services.scheduler.settings import SchedulerSettings
from perdure_services.signal_gateway.app import GatewayService
from perdure_services.signal_gateway.settings import GatewaySettings

_USUAL_PORT = 4222
_ENDS_WITHIN, _GLANCE = 10.0, 0.02


class DevSettings(SupervisedSettings):
    """Everything at once needs everything's permissions; nothing is seen from other machines."""

    role: ClassVar[Role] = Role.ADMIN

    health_host: str = "127.0.0.1"
    any_health_port: bool = True
    log_level: str = "INFO"


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(dev)


def dev(
    *,
    imports: Imports = None,
    task_queues: TaskQueues = None,
    server: Server = None,
    creds: Creds = None,
    context: Context = None,
    namespace: Namespace = None,
    user: User = None,
    password: Password = None,
    data: Annotated[
        Path, typer.Option("--data", help="Where the embedded server keeps its data.")
    ] = Path(".perdure"),
    relaxed: Annotated[
        bool, typer.Option("--relaxed", help="Faster: a power loss may take two minutes of work.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", help="The embedded server's; a free one when it is taken.")
    ] = _USUAL_PORT,
    health_port: HealthPort = None,
    log_level: Annotated[str | None, typer.Option("--log-level")] = None,
) -> None:
    """Run everything in one process, with an embedded nats-server. Ctrl-C stops it."""
    try:
        settings = DevSettings.load(
            imports=imports,
            task_queues=task_queues,
            server=server,
            creds=creds,
            context=context,
            namespace=namespace,
            user=user,
            password=password,
            health_port=health_port,
            log_level=log_level,
        )
    except Refused as error:
        raise typer.Exit(report(error, as_json=False)) from error
    set_up_logs("human", settings.log_level)

    def work(ward: Ward) -> int:
        try:
            app = load_app(settings.imports) if settings.imports else App()
        except Refused as error:
            return report(error, as_json=False)
        embedded = None
        if server is None and context is None:
            embedded = EmbeddedServer(data, port=port, durable=not relaxed)
        return _run(settings, app, ward, embedded, data=data, port=port, relaxed=relaxed)

    raise typer.Exit(supervise(work, settings.limits))


def _run(
    settings: DevSettings,
    app: App,
    ward: Ward,
    embedded: EmbeddedServer | None,
    *,
    data: Path,
    port: int,
    relaxed: bool,
) -> ExitCode:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            chosen = settings
            if embedded is not None:
                if ward.replaced:
                    await _until_ended(embedded)
                try:
                    await stack.enter_async_context(embedded)
                except OSError as error:
                    raise Refused(f"{data} cannot hold the data: {error}") from error
                chosen = settings.reaching(embedded.url)

            def ready(health: HealthServer) -> None:
                _greet(chosen, app, health, embedded, data=data, port=port, relaxed=relaxed)

            await Shell(_services(chosen, app, ward), chosen, on_ready=ready).run()

    try:
        return run_guarded(main())
    except EmbeddedServerError as error:
        return report(error, as_json=False)


async def _until_ended(embedded: EmbeddedServer) -> None:
    """The server of the process before this one ends with it, in a moment: not to be joined."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDS_WITHIN):
            while embedded.alive:  # noqa: ASYNC110
                await asyncio.sleep(_GLANCE)


def _services(settings: DevSettings, app: App, ward: Ward) -> list[Service]:
    queues, identity = settings.task_queues, settings.identity
    services: list[Service] = []
    if app.workflows:
        scheduling = SchedulerSettings.load(task_queues=queues, identity=identity)
        services.append(SchedulerService(scheduling, app, ward))
    if app.activities:
        working = ActivityWorkerSettings.load(
            task_queues=queues, identity=identity, grace=settings.grace
        )
        services.append(ActivityWorkerService(working, app))
    gateway = GatewaySettings.load(task_queue=queues[0], identity=identity)
    return [*services, GatewayService(gateway)]


def _greet(
    settings: DevSettings,
    app: App,
    health: HealthServer,
    embedded: EmbeddedServer | None,
    *,
    data: Path,
    port: int,
    relaxed: bool,
) -> None:
    """Where everything is, and how to end it."""
    url = settings.server
    rows = [("NATS", url)]
    if embedded is not None:
        if port and not url.endswith(f":{port}"):
            rows[0] = ("NATS", f"{url}  (port {port} is taken)")
        mode = (
            "relaxed: a power loss may take two minutes of work"
            if relaxed
            else "every write is synced"
        )
        shared = "" if embedded.owned else ", shared with the `perdure dev` that started it"
        rows.append(("data", f"{data.absolute()}  ({mode}{shared})"))
        rows.append(("monitor", embedded.monitor_url))
    if health.port:
        rows.append(("health", f"http://{settings.health_host}:{health.port}/readyz, /metrics"))
    rows.append(("queues", ", ".join(settings.task_queues)))
    rows.append(("workflows", _names(app.workflow_names)))
    rows.append(("activities", _names(app.activity_names)))
    if not url.endswith(f":{_USUAL_PORT}"):
        rows.append(("use it", f"export NATS_URL={url}"))
    name = next(iter(app.workflow_names), "TYPE")
    rows.append(("try", f"perdure start {name} --wait"))
    rows.append(("stop", "Ctrl-C"))
    out.print(f"perdure dev is ready: namespace {settings.namespace}", style="bold", markup=False)
    for label, text in rows:
        out.print(f"  {label:<11}{text}", markup=False)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none (name code with --import package.module)"
