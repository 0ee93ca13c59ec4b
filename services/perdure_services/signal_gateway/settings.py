"""What a gateway process can be told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field, field_validator

from perdure.adapters.jetstream.backend import JetStreamOptions
from perdure.adapters.jetstream.permissions import Role
from perdure.core.ids import check_id
from perdure_services._shell.durations import Duration
from perdure_services._shell.settings import ServiceSettings, Words, split_words


class GatewaySettings(ServiceSettings):
    """``task_queue`` is where starts go that name none; ``patience`` how long a signal waits for
    its workflow to appear; ``reply_prefixes`` where else than in inboxes replies may go."""

    role: ClassVar[Role] = Role.GATEWAY

    task_queue: str = "default"
    patience: Duration = timedelta(minutes=1)
    credit: int = Field(default=4_096, ge=1)
    reply_prefixes: Words = ()

    def jetstream_options(self, *, name: str = "perdure", **others: Any) -> JetStreamOptions:
        options = super().jetstream_options(name=name, **others)
        return replace(options, reply_prefixes=self.reply_prefixes)

    @field_validator("task_queue")
    @classmethod
    def _task_queue(cls, value: str) -> str:
        return check_id(value, "task_queue")

    @field_validator("reply_prefixes", mode="before")
    @classmethod
    def _prefixes(cls, value: Any) -> Any:
        return split_words(value)
