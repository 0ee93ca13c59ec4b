"""An activity task as it lies in the queue: one message, one attempt.

Whatever changes the attempt replaces the message, so that late words of the attempt before are
harmless. ``delay`` counts from the message's own stream timestamp.
"""

import msgspec

from perdure.core.failures import Failure
from perdure.core.payloads import Payload
from perdure.core.retry import RetryRule


class ActivityTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    run: str
    n: int
    attempt: int = 1
    workflow_id: str
    workflow_type: str
    workflow_queue: str
    """The queue of the workflow: where in the log the outcome belongs."""
    activity_type: str
    activity_id: str
    task_queue: str
    args: list[Payload] = []
    schedule_to_close: int = 0
    schedule_to_start: int = 0
    start_to_close: int = 0
    heartbeat: int = 0
    retry: RetryRule = RetryRule()
    scheduled_at: int = 0
    """When the workflow asked for it, in log time."""
    cause_at: int = 0
    """Log time of what this attempt answers; a delivery long after it is verified first."""
    cause_seq: int = 0
    """Sequence of the record that scheduled it: an outcome in the log can only come after."""
    delay: int = 0
    again: bool = False
    """Published a second time (by a reload or a retry): the receiver verifies that it still counts."""
    cancel: bool = False
    """A cancellation in the task's place."""
    last_failure: Failure | None = None
    heartbeat_details: list[Payload] = []
    headers: dict[str, str] = {}
    format: int = 1


_decoder = msgspec.json.Decoder(ActivityTask)
_encoder = msgspec.json.Encoder()


def encode_task(task: ActivityTask) -> bytes:
    return _encoder.encode(task)


def decode_task(data: bytes) -> ActivityTask:
    return _decoder.decode(data)
