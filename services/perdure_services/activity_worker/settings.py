"""What an activity worker process can be told."""

from typing import ClassVar

from pydantic import Field

from perdure.adapters.jetstream.permissions import Role
from perdure_services._shell.settings import CodeSettings


class ActivityWorkerSettings(CodeSettings):
    """``max_concurrent_activities`` is per task queue."""

    role: ClassVar[Role] = Role.WORKER

    max_concurrent_activities: int = Field(default=100, ge=1)
