"""``scheduler``, ``worker``, ``gateway``: run one service in this process."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from perdure_services._shell.entry import run_service, run_supervised
from perdure_services._shell.errors import ExitCode
from perdure_services.activity_worker.app import load_worker
from perdure_services.activity_worker.settings import ActivityWorkerSettings
from perdure_services.cli.commands import CONNECTION, give_signature
from perdure_services.scheduler.app import load_scheduler
from perdure_services.scheduler.settings import SchedulerSettings
from perdure_services.signal_gateway.app import load_gateway
from perdure_services.signal_gateway.settings import GatewaySettings

Imports = Annotated[
    list[str] | None,
    typer.Option("--import", "-i", help="Code to run: package.module[:app]; repeatable."),
]
TaskQueues = Annotated[
    list[str] | None,
    typer.Option("--task-queue", "-q", help="Task queue to serve; repeatable. Else `default`."),
]
HealthPort = Annotated[
    int | None, typer.Option("--health-port", help="Health and metrics; 0: none. Else 9464.")
]
_SHELL: Final[dict[str, Any]] = {
    **CONNECTION,
    "no_create": Annotated[
        bool, typer.Option("--no-create", help="Never make or amend streams: only check them.")
    ],
    "config": Annotated[
        str | None, typer.Option("--config", help="Settings file (TOML). Else perdure.toml.")
    ],
    "health_port": HealthPort,
    "grace": Annotated[
        str | None, typer.Option("--grace", help="What running work gets at a stop. Else 25s.")
    ],
    "log_format": Annotated[str | None, typer.Option("--log-format", help="auto, human or json.")],
    "log_level": Annotated[str | None, typer.Option("--log-level", help="DEBUG to ERROR.")],
}


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    for function in (scheduler, worker, gateway):
        app.command()(_with_shell_flags(function))


def scheduler(
    *,
    imports: Imports = None,
    task_queues: TaskQueues = None,
    build_id: Annotated[
        str | None, typer.Option("--build-id", help="Name of the code. Else a hash of it.")
    ] = None,
    max_cached_workflows: Annotated[
        int | None, typer.Option("--max-cached-workflows", help="Runs kept in memory.")
    ] = None,
    turn_timeout: Annotated[
        str | None, typer.Option("--turn-timeout", help="What a turn may take; 0: all. Else 1.5s.")
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option("--memory-limit", help="What a turn may take: 500MB. Else 2 GiB at most."),
    ] = None,
    **flags: Any,
) -> int:
    """Run workflow code."""
    return run_supervised(
        SchedulerSettings,
        load_scheduler,
        imports=imports,
        task_queues=task_queues,
        build_id=build_id,
        max_cached_workflows=max_cached_workflows,
        turn_timeout=turn_timeout,
        memory_limit=memory_limit,
        **flags,
    )


def worker(
    *,
    imports: Imports = None,
    task_queues: TaskQueues = None,
    max_concurrent_activities: Annotated[
        int | None,
        typer.Option("--max-concurrent", help="Activities at a time, per task queue. Else 100."),
    ] = None,
    **flags: Any,
) -> ExitCode:
    """Run activity code."""
    return run_service(
        ActivityWorkerSettings,
        load_worker,
        imports=imports,
        task_queues=task_queues,
        max_concurrent_activities=max_concurrent_activities,
        **flags,
    )


def gateway(
    *,
    task_queue: Annotated[
        str | None, typer.Option("--task-queue", "-q", help="For starts that name none.")
    ] = None,
    **flags: Any,
) -> ExitCode:
    """Run the durable front door."""
    return run_service(GatewaySettings, load_gateway, task_queue=task_queue, **flags)


def _with_shell_flags(function: Callable[..., int]) -> Callable[..., None]:
    @functools.wraps(function)
    def run(**kwargs: Any) -> None:
        create = False if kwargs.pop("no_create") else None
        raise typer.Exit(function(**kwargs, create=create))

    give_signature(run, function, _SHELL, skip=0)
    return run
