"""What a gateway process can be told."""

from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field, field_validator

from perdure.adapters.jetstream.permissions import Role
from perdure.core.ids import check_id
from perdure_services._shell.durations import Duration
from perdure_services._shell.settings import ServiceSettings, split_words


class GatewaySettings(ServiceSettings):
    """``task_queue`` is where starts go that name none; ``patience`` how long a signal waits for
    its workflow to appear."""

    role: ClassVar[Role] = Role.GATEWAY

    task_queue: str = "default"
    patience: Duration = timedelta(minutes=1)
    credit: int = Field(default=4_096, ge=1)

    @field_validator("task_queue", mode="before")
    @classmethod
    def _task_queue(cls, value: Any) -> str:
        # PERDURE_TASK_QUEUE may name all queues of a deployment: the first is where starts go.
        words = split_words(value)
        return check_id(words[0] if words else "", "task_queue")
