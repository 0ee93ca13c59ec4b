"""Activities as workflows call them: checks the options and asks the host."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from types import FunctionType
from typing import Any, Final, TypedDict, Unpack, cast, overload

from perdure.authoring.activity_decorators import activity_reference
from perdure.authoring.common import Priority
from perdure.authoring.workflow import current_host, nanoseconds_of
from perdure.core.host import ActivityCancellationType, ActivityRequest
from perdure.core.ids import check_id
from perdure.core.retry import DEFAULT_ACTIVITY_RETRY, RetryPolicy

_NO_ARG: Final[Any] = object()


class ActivityConfig(TypedDict, total=False):
    """The options of an activity call, for keeping them in one place: ``**config``.

    ``priority`` and ``versioning_intent`` are Temporal's, without effect here.
    """

    task_queue: str | None
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None
    priority: Priority
    versioning_intent: Any


_OPTIONS: Final = frozenset(ActivityConfig.__annotations__)


@overload
def start_activity[R](
    activity: Callable[..., Awaitable[R]],
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: None = None,
    **options: Unpack[ActivityConfig],
) -> asyncio.Task[R]: ...
@overload
def start_activity[R](
    activity: Callable[..., R],
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: None = None,
    **options: Unpack[ActivityConfig],
) -> asyncio.Task[R]: ...
@overload
def start_activity[R](
    activity: str | Callable[..., Any],
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: type[R],
    **options: Unpack[ActivityConfig],
) -> asyncio.Task[R]: ...
@overload
def start_activity(
    activity: str,
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: Any = None,
    **options: Unpack[ActivityConfig],
) -> asyncio.Task[Any]: ...
def start_activity(
    activity: str | Callable[..., Any],
    arg: Any = _NO_ARG,
    *,
    args: Sequence[Any] = (),
    result_type: Any = None,
    **options: Unpack[ActivityConfig],
) -> asyncio.Task[Any]:
    """Schedule an activity now, and return the task that ends with its result.

    ``activity`` is a function marked with ``@activity.defn``, a method reference or a name; one
    argument goes as ``arg``, several as ``args``. At least one of ``start_to_close_timeout`` (each
    attempt) and ``schedule_to_close_timeout`` (all attempts and the time between) is needed.
    Cancelling the task cancels the activity, as ``cancellation_type`` says.

    Raises:
        ValueError: an option is missing or out of range. TypeError: not an activity, or an unknown
        option. The task ends with ActivityError when the activity failed for good.
    """
    host = current_host("start_activity()")
    arguments = _arguments(arg, args)
    started = host.start_activity(_request(activity, result_type, options), arguments)
    return cast("asyncio.Task[Any]", started)


@overload
async def execute_activity[R](
    activity: Callable[..., Awaitable[R]],
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: None = None,
    **options: Unpack[ActivityConfig],
) -> R: ...
@overload
async def execute_activity[R](
    activity: Callable[..., R],
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: None = None,
    **options: Unpack[ActivityConfig],
) -> R: ...
@overload
async def execute_activity[R](
    activity: str | Callable[..., Any],
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: type[R],
    **options: Unpack[ActivityConfig],
) -> R: ...
@overload
async def execute_activity(
    activity: str,
    arg: Any = ...,
    *,
    args: Sequence[Any] = (),
    result_type: Any = None,
    **options: Unpack[ActivityConfig],
) -> Any: ...
async def execute_activity(
    activity: str | Callable[..., Any],
    arg: Any = _NO_ARG,
    *,
    args: Sequence[Any] = (),
    result_type: Any = None,
    **options: Unpack[ActivityConfig],
) -> Any:
    """Run an activity and return its result. The options are those of :func:`start_activity`.

    Nothing is scheduled before the call is awaited or made a task.

    Raises:
        ActivityError: the activity failed for good; its cause says why.
    """
    host = current_host("execute_activity()")
    arguments = _arguments(arg, args)
    return await host.start_activity(_request(activity, result_type, options), arguments)


start_activity_method = start_activity
start_activity_class = start_activity
execute_activity_method = execute_activity
execute_activity_class = execute_activity


def _arguments(arg: Any, args: Sequence[Any]) -> Sequence[Any]:
    if args == () and arg is not _NO_ARG:
        return (arg,)
    if isinstance(args, str | bytes | bytearray) or not isinstance(args, Sequence):
        raise TypeError(
            f"args must be a list or tuple of arguments, not {type(args).__name__}; "
            "a single argument goes without args="
        )
    if arg is _NO_ARG:
        return tuple(args)
    if args:
        raise ValueError("Cannot have arg and args: give one argument as arg, or all in args=[...]")
    return (arg,)


def _request(
    activity: str | Callable[..., Any], result_type: Any, options: ActivityConfig
) -> ActivityRequest:
    # A workflow's code asks in the same few ways again and again. A bound method or a callable
    # object is no key: it would keep its object alive.
    if isinstance(activity, str | FunctionType):
        try:
            return _known_request(activity, result_type, **options)
        except TypeError:
            # Options that don't hash, or that are refused: then they are refused once more.
            pass
    return _read_request(activity, result_type, **options)


def _read_request(
    activity: str | Callable[..., Any], result_type: Any, **options: Unpack[ActivityConfig]
) -> ActivityRequest:
    if unknown := options.keys() - _OPTIONS:
        raise TypeError(
            f"unknown activity option {', '.join(sorted(unknown))}; "
            f"there are {', '.join(sorted(_OPTIONS))}"
        )
    definition = None if isinstance(activity, str) else activity_reference(activity)
    name = check_id(activity, "activity") if definition is None else definition.name
    if result_type is None:
        result_type = Any if definition is None else definition.signature.returns
    start_to_close = _timeout(options, "start_to_close_timeout")
    schedule_to_close = _timeout(options, "schedule_to_close_timeout")
    if not start_to_close and not schedule_to_close:
        raise ValueError(
            f"activity {name!r} needs start_to_close_timeout (the time of one attempt) or "
            "schedule_to_close_timeout (the time of all attempts)"
        )
    task_queue = options.get("task_queue")
    activity_id = options.get("activity_id")
    return ActivityRequest(
        name=name,
        definition=definition,
        result_type=result_type,
        task_queue=None if task_queue is None else check_id(task_queue, "task_queue"),
        activity_id=None if activity_id is None else check_id(activity_id, "activity_id"),
        schedule_to_close=schedule_to_close,
        schedule_to_start=_timeout(options, "schedule_to_start_timeout"),
        start_to_close=start_to_close,
        heartbeat=_timeout(options, "heartbeat_timeout"),
        retry=_retry(options.get("retry_policy")),
        cancellation=ActivityCancellationType(
            options.get("cancellation_type", ActivityCancellationType.TRY_CANCEL)
        ),
        summary=options.get("summary") or "",
    )


_known_request = lru_cache(maxsize=1024, typed=True)(_read_request)


def _retry(policy: RetryPolicy | None) -> Any:
    if policy is None:
        return DEFAULT_ACTIVITY_RETRY
    if not isinstance(policy, RetryPolicy):
        raise TypeError(f"retry_policy must be a RetryPolicy, not {type(policy).__name__}")
    return policy.to_rule()


def _timeout(options: ActivityConfig, name: str) -> int:
    value = cast("timedelta | None", options.get(name))
    return 0 if value is None else nanoseconds_of(value, name, positive=True)
