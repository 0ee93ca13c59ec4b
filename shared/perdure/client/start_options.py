"""The options of a start: their names and types, and the request that they make."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Required, TypedDict

from perdure.authoring.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.authoring.converter import DefaultPayloadConverter
from perdure.authoring.definitions import definition_of, workflow_name
from perdure.client.arguments import (
    SearchAttributeValue,
    checked_duration,
    checked_id,
    checked_policy,
    encoded_arguments,
    encoded_attributes,
    encoded_memo,
    positional,
)
from perdure.core.definitions import WorkflowDefinition
from perdure.core.errors import InvalidInputError
from perdure.core.payloads import PayloadConverter
from perdure.engine.starts import StartRequest

_PLAIN: Final = DefaultPayloadConverter()
_NOT_YET: Final = frozenset(
    {"cron_schedule", "retry_policy", "start_delay", "start_signal", "start_signal_args"}
)


class StartOptions(TypedDict, total=False):
    """Keyword arguments of ``start_workflow`` and ``execute_workflow``.

    ``request_id`` makes the call idempotent: the same one again, from anywhere, is the same run.
    """

    args: Sequence[Any]
    id: Required[str]
    task_queue: str
    result_type: Any
    execution_timeout: timedelta | None
    run_timeout: timedelta | None
    id_reuse_policy: WorkflowIDReusePolicy
    id_conflict_policy: WorkflowIDConflictPolicy
    memo: Mapping[str, Any] | None
    search_attributes: Mapping[str, SearchAttributeValue] | None
    request_id: str | None
    rpc_timeout: timedelta | None
    # Temporal's, without effect here.
    task_timeout: timedelta | None
    rpc_metadata: Mapping[str, str]
    static_summary: str | None
    static_details: str | None
    request_eager_start: bool
    priority: Priority
    versioning_override: Any


def known_workflow(workflow: str | type | Callable[..., Any]) -> WorkflowDefinition | None:
    """The definition behind a class or its run method; None for a name.

    Raises TypeError for what is no workflow.
    """
    return None if isinstance(workflow, str) else definition_of(workflow)


def start_request(
    workflow: str | type | Callable[..., Any],
    arg: Any,
    options: StartOptions,
    *,
    converter: PayloadConverter,
    now: int,
) -> StartRequest:
    """The request of a call. Raises TypeError for an unknown option, InvalidInputError naming the
    field that is wrong."""
    _check_names(options)
    definition = known_workflow(workflow)
    name = _name(workflow)
    given = options.get("request_id")
    return StartRequest(
        workflow_id=checked_id(options["id"], "id"),
        workflow_type=name,
        args=encoded_arguments(
            positional(arg, options.get("args", ())),
            converter,
            definition.signature if definition is not None else None,
            f"workflow {name!r}",
        ),
        task_queue=checked_id(options.get("task_queue", "default"), "task_queue"),
        request_id=f"req:{uuid.uuid4()}"
        if given is None
        else f"request:{checked_id(given, 'request_id')}",
        # What its id alone identifies has no time, or it would not be the same when made again.
        requested_at=now if given is None else 0,
        memo=encoded_memo(options.get("memo"), converter),
        search_attributes=encoded_attributes(options.get("search_attributes"), _PLAIN),
        execution_timeout=checked_duration(options.get("execution_timeout"), "execution_timeout"),
        run_timeout=checked_duration(options.get("run_timeout"), "run_timeout"),
        id_reuse_policy=checked_policy(
            options.get("id_reuse_policy", WorkflowIDReusePolicy.ALLOW_DUPLICATE),
            WorkflowIDReusePolicy,
            "id_reuse_policy",
        ),
        id_conflict_policy=checked_policy(
            options.get("id_conflict_policy", WorkflowIDConflictPolicy.UNSPECIFIED),
            WorkflowIDConflictPolicy,
            "id_conflict_policy",
        ),
    )


def _check_names(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in _NOT_YET:
            if value:
                raise TypeError(f"start_workflow() does not support {name} in this release")
        elif name not in StartOptions.__annotations__:
            raise TypeError(f"start_workflow() got an unexpected keyword argument {name!r}")
    if "id" not in options:
        raise TypeError("start_workflow() missing 1 required keyword-only argument: 'id'")


def _name(workflow: str | type | Callable[..., Any]) -> str:
    try:
        return workflow_name(workflow)
    except ValueError as error:
        raise InvalidInputError(str(error), field="workflow") from error
