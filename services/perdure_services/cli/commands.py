"""What all commands share: the flags of the connection, ``--json``, errors, the event loop."""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, get_args

import typer

from perdure.adapters.jetstream.backend import JetStreamOptions, compose, connect
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.permissions import Role
from perdure.adapters.jetstream.topology import TopologyError
from perdure.client import Client
from perdure.ports.backend import Backend
from perdure_services._shell.errors import ExitCode, Refused
from perdure_services._shell.settings import ConnectionSettings
from perdure_services.cli.failures import EXPECTED, report

_PATIENCE: Final = 5.0

Server = Annotated[
    str | None, typer.Option("--server", "-s", help="NATS servers, parted by commas.")
]
Creds = Annotated[str | None, typer.Option("--creds", help="Credentials file.")]
Context = Annotated[str | None, typer.Option("--context", help="Context of the nats command.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace.")]
User = Annotated[str | None, typer.Option("--user", help="User name.")]
Password = Annotated[str | None, typer.Option("--password", help="Password.")]

CONNECTION: Final[dict[str, Any]] = {
    "server": Server,
    "creds": Creds,
    "context": Context,
    "namespace": Namespace,
    "user": User,
    "password": Password,
}
_JSON: Final = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class AdminSettings(ConnectionSettings):
    """The connection of whoever makes streams and repairs."""

    role = Role.ADMIN


class Session:
    """One command's connection and how it prints."""

    def __init__(self, flags: dict[str, Any], *, as_json: bool) -> None:
        self._flags = flags
        self.as_json = as_json

    def options(self, *, admin: bool = False, **others: Any) -> JetStreamOptions:
        """Where this command connects. Raises Refused."""
        settings = (AdminSettings if admin else ConnectionSettings).load(**self._flags, **others)
        return settings.jetstream_options(name="perdure cli", start_timeout=_PATIENCE)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """A client of the namespace, which must be there."""
        async with self.backend() as backend:
            yield Client.from_backend(backend)

    @asynccontextmanager
    async def backend(self, *, admin: bool = False) -> AsyncGenerator[Backend]:
        """The namespace's ports; no command makes streams in passing."""
        options = self.options(admin=admin, create=False)
        try:
            async with connect(options) as backend:
                yield backend
        except TopologyError as error:
            raise _no_namespace(error, options) from error

    @asynccontextmanager
    async def link(self) -> AsyncGenerator[tuple[Link, JetStreamOptions]]:
        """The bare connection, for what concerns the streams themselves."""
        options = self.options(admin=True)
        link = await Link.connect(options.connection)
        try:
            yield link, options
        finally:
            await link.close()

    @asynccontextmanager
    async def link_and_backend(self) -> AsyncGenerator[tuple[Link, Backend, JetStreamOptions]]:
        """Both, over one connection."""
        async with self.link() as (link, options):
            yield link, await compose(link, options), options


def _no_namespace(error: TopologyError, options: JetStreamOptions) -> Exception:
    if all(difference.remedy == "create" for difference in error.differences):
        return Refused(
            f"there is no namespace {options.namespace!r} on {options.connection.addresses}: start "
            "a scheduler or `perdure dev` there, or make its streams with `perdure topology apply`"
        )
    return error


def command(
    app: typer.Typer, name: str | None = None, *, json: bool = True
) -> Callable[[Callable[..., Awaitable[ExitCode | None]]], Callable[..., None]]:
    """Register an async function that takes a Session first; its flags and the connection's."""

    def decorate(function: Callable[..., Awaitable[ExitCode | None]]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            flags = {flag: kwargs.pop(flag) for flag in CONNECTION}
            as_json = kwargs.pop("json", False)
            session = Session(flags, as_json=as_json)
            raise typer.Exit(_run(function, session, args, kwargs))

        shared = {**CONNECTION, "json": _JSON} if json else CONNECTION
        give_signature(run, function, shared, skip=1)
        app.command(name)(run)
        return run

    return decorate


def _run(
    function: Callable[..., Awaitable[ExitCode | None]],
    session: Session,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> ExitCode:
    async def main() -> ExitCode | None:
        return await function(session, *args, **kwargs)

    try:
        return asyncio.run(main()) or ExitCode.OK
    except EXPECTED as error:
        return report(error, as_json=session.as_json)


def give_signature(
    run: Any, function: Callable[..., Any], shared: dict[str, Any], *, skip: int
) -> None:
    """Let Typer see the parameters of ``function`` behind the first ``skip``, and ``shared``."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    own = [p for p in list(parameters)[skip:] if p.kind is not p.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(
            name, kind, default=False if _is_switch(annotation) else None, annotation=annotation
        )
        for name, annotation in shared.items()
    ]
    run.__signature__ = inspect.Signature([*own, *more])
    run.__annotations__ = {p.name: p.annotation for p in (*own, *more)}
    # Typer would look behind the wrapper and miss the flags.
    del run.__wrapped__


def _is_switch(annotation: Any) -> bool:
    return get_args(annotation)[0] is bool
