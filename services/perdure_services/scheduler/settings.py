"""What a scheduler process can be told."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from perdure.adapters.jetstream.permissions import Role
from perdure_services._shell.durations import Duration
from perdure_services._shell.settings import SupervisedSettings


class SchedulerSettings(SupervisedSettings):
    """``build_id`` empty: a hash of the workflow modules' source. ``state_retention``: how long the
    entry of a closed workflow is kept."""

    role: ClassVar[Role] = Role.SCHEDULER

    build_id: str = ""
    max_cached_workflows: int = Field(default=5_000, ge=0)
    state_retention: Duration = timedelta(days=30)
