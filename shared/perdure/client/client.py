"""The client: starts workflows and finds them."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from ssl import SSLContext
from typing import Any, Final, Self, Unpack, overload

from perdure.authoring.converter import DataConverter
from perdure.authoring.workflow import in_workflow
from perdure.client.arguments import UNSET, checked_seconds
from perdure.client.connecting import DEFAULT_TARGET, default_identity, options_of
from perdure.client.handle import WorkflowHandle
from perdure.client.start_options import StartOptions, known_workflow, start_request
from perdure.core.errors import InvalidInputError, UnavailableError
from perdure.core.ids import check_namespace
from perdure.engine.admission import Admission
from perdure.engine.patience import DEFAULT_TIMEOUT
from perdure.engine.starts import start
from perdure.ports.backend import Backend
from perdure.ports.errors import Unavailable

_KNOWN_IDS: Final = 10_000


class Client:
    """Starts workflows, and gives handles to those that exist.

    Use :meth:`connect`. ``Client(**client.config())`` is the same connection with other settings.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        data_converter: DataConverter | None = None,
        identity: str | None = None,
    ) -> None:
        self._backend = backend
        self._data_converter = data_converter or DataConverter.default()
        self._identity = identity or default_identity()
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._admission = Admission(backend)
        self._resources = AsyncExitStack()

    @classmethod
    async def connect(
        cls,
        target_host: str = DEFAULT_TARGET,
        *,
        namespace: str = "default",
        data_converter: DataConverter | None = None,
        identity: str | None = None,
        tls: bool | SSLContext | None = None,
        api_key: str | None = None,
        **options: Any,
    ) -> Self:
        """A client of the namespace on a NATS server (``nats://``, ``tls://``, ``ws://`` or
        host:port; several separated by commas).

        ``options`` are those of the JetStream adapter and its connection (``credentials``,
        ``user``, ``password``, ``prefix``, …). Raises UnavailableError when no server answers or it is
        too old.
        """
        if in_workflow():
            raise InvalidInputError(
                "a workflow cannot connect to a server: it would differ on replay. Use the client in "
                "an activity, or signal the workflow from outside."
            )
        try:
            check_namespace(namespace)
        except ValueError as error:
            raise InvalidInputError(str(error), field="namespace") from error
        chosen = options_of(
            target_host, namespace=namespace, tls=tls, api_key=api_key, others=options
        )
        from perdure.adapters.jetstream.backend import connect
        from perdure.adapters.jetstream.errors import ServerTooOld

        resources = AsyncExitStack()
        try:
            backend = await resources.enter_async_context(connect(chosen))
        except ServerTooOld as error:
            raise UnavailableError(str(error)) from error
        except Unavailable as error:
            raise UnavailableError(
                f"no NATS server answers at {chosen.connection.addresses}: {error}"
            ) from error
        client = cls(backend, data_converter=data_converter, identity=identity)
        client._resources = resources
        return client

    @classmethod
    def from_backend(
        cls,
        backend: Backend,
        *,
        data_converter: DataConverter | None = None,
        identity: str | None = None,
    ) -> Self:
        """A client of ports that somebody else made, and closes."""
        return cls(backend, data_converter=data_converter, identity=identity)

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def namespace(self) -> str:
        return self._backend.namespace

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def data_converter(self) -> DataConverter:
        return self._data_converter

    def config(self) -> dict[str, Any]:
        """What :class:`Client` is made of, for another one over the same connection."""
        return {
            "backend": self._backend,
            "data_converter": self._data_converter,
            "identity": self._identity,
        }

    async def close(self) -> None:
        """Close the connection that :meth:`connect` made. Idempotent."""
        resources, self._resources = self._resources, AsyncExitStack()
        await resources.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @overload
    async def start_workflow[R](
        self,
        workflow: Callable[..., Awaitable[R]],
        arg: Any = ...,
        **options: Unpack[StartOptions],
    ) -> WorkflowHandle[Any, R]: ...
    @overload
    async def start_workflow(
        self, workflow: str | type, arg: Any = ..., **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Any, Any]: ...
    async def start_workflow(
        self,
        workflow: str | type | Callable[..., Awaitable[Any]],
        arg: Any = UNSET,
        **options: Unpack[StartOptions],
    ) -> WorkflowHandle[Any, Any]:
        """Start a workflow: its class's ``run``, the class, or a name; returns once it is durable.

        Raises InvalidInputError (nothing is stored), WorkflowAlreadyStartedError, UnavailableError
        (StoreFullError when there is no room for new workflows).
        """
        request = start_request(
            workflow,
            arg,
            options,
            converter=self._data_converter.payload_converter,
            now=self._backend.clock.now(),
        )
        timeout = checked_seconds(options.get("rpc_timeout"), "rpc_timeout") or DEFAULT_TIMEOUT
        outcome = await start(self._backend, request, timeout=timeout, admission=self._admission)
        return WorkflowHandle(
            self,
            request.workflow_id,
            result_run_id=outcome.run,
            first_execution_run_id=outcome.run,
            result_type=_result_type(options.get("result_type"), workflow),
        )

    @overload
    async def execute_workflow[R](
        self,
        workflow: Callable[..., Awaitable[R]],
        arg: Any = ...,
        **options: Unpack[StartOptions],
    ) -> R: ...
    @overload
    async def execute_workflow(
        self, workflow: str | type, arg: Any = ..., **options: Unpack[StartOptions]
    ) -> Any: ...
    async def execute_workflow(
        self, workflow: Any, arg: Any = UNSET, **options: Unpack[StartOptions]
    ) -> Any:
        """Start a workflow and wait for its result: :meth:`start_workflow`, then ``result()``."""
        handle: WorkflowHandle[Any, Any] = await self.start_workflow(workflow, arg, **options)
        return await handle.result()

    def get_workflow_handle(
        self,
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
        result_type: Any = None,
    ) -> WorkflowHandle[Any, Any]:
        """A handle by id. Asks nobody: an unknown id shows on use."""
        return WorkflowHandle(
            self,
            workflow_id,
            run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=result_type,
        )

    def get_workflow_handle_for[R](
        self,
        workflow: Callable[..., Awaitable[R]],
        workflow_id: str,
        *,
        run_id: str | None = None,
        first_execution_run_id: str | None = None,
    ) -> WorkflowHandle[Any, R]:
        """A handle by id of a workflow whose class is known."""
        return WorkflowHandle(
            self,
            workflow_id,
            run_id=run_id,
            first_execution_run_id=first_execution_run_id,
            result_type=_result_type(None, workflow),
        )

    def newest(self, workflow_id: str, seq: int = 0) -> int:
        """The newest log sequence of an id that this client knows; ``seq`` is known from now on."""
        known = max(self._newest.pop(workflow_id, 0), seq)
        if known:
            self._newest[workflow_id] = known
            if len(self._newest) > _KNOWN_IDS:
                self._newest.popitem(last=False)
        return known


def _result_type(given: Any, workflow: str | type | Callable[..., Any]) -> Any:
    if given is not None:
        return given
    definition = known_workflow(workflow)
    return None if definition is None else definition.signature.returns
