"""What a workflow class or an activity function is, once read: names, callables, types.

The decorators of the authoring rooms build these; the core and the engine only use them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perdure.core.errors import InvalidInputError
from perdure.core.payloads import Payload, PayloadConverter


@dataclass(frozen=True, slots=True)
class Signature:
    """The positional parameters that a payload list is decoded for. ``types`` are annotations (Any
    where there is none), the first ``required`` of them have no default."""

    types: tuple[Any, ...] = ()
    required: int = 0
    variadic: bool = False
    returns: Any = Any

    def decode(self, args: Sequence[Payload], converter: PayloadConverter, what: str) -> list[Any]:
        """The arguments as Python values.

        Raises InvalidInputError naming ``what`` for a wrong count or an argument that does not fit
        its type.
        """
        if len(args) < self.required or (len(args) > len(self.types) and not self.variadic):
            raise InvalidInputError(
                f"{what} takes {self._expected()}, got {len(args)}", field="args"
            )
        values: list[Any] = []
        for position, payload in enumerate(args):
            hint = self.types[position] if position < len(self.types) else Any
            try:
                values.append(converter.from_payload(payload, hint))
            except Exception as error:
                # A user's own converter may raise anything.
                raise InvalidInputError(
                    f"{what}: argument {position + 1} does not fit: {error}",
                    field=f"args[{position}]",
                ) from error
        return values

    def _expected(self) -> str:
        if self.variadic:
            return f"at least {self.required} argument(s)"
        if self.required == len(self.types):
            return f"{self.required} argument(s)"
        return f"{self.required} to {len(self.types)} arguments"


@dataclass(frozen=True, slots=True)
class HandlerDefinition:
    """A signal or query handler: ``function`` takes the workflow object first."""

    name: str
    function: Callable[..., Any]
    signature: Signature
    is_async: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowDefinition:
    """A workflow class. ``run`` takes the workflow object first; ``init_takes_args`` is ``@workflow.init``."""

    name: str
    cls: type
    run: Callable[..., Any]
    signature: Signature
    init_takes_args: bool = False
    signals: Mapping[str, HandlerDefinition] = field(default_factory=dict[str, HandlerDefinition])
    queries: Mapping[str, HandlerDefinition] = field(default_factory=dict[str, HandlerDefinition])


@dataclass(frozen=True, slots=True)
class ActivityDefinition:
    """An activity: any function or coroutine function."""

    name: str
    function: Callable[..., Any]
    signature: Signature
    is_async: bool = False
    no_thread_cancel_exception: bool = False
