"""The scheduler: runs workflow code, one turn at a time per workflow, many workflows at once.

A delivery from the inbox goes to the lane of its workflow id. The lane has the run in memory or
loads it, applies what is pending, commits one record, performs its commands, and only then
acknowledges: commit k, its effects stored, commit k + 1.
"""

from perdure.engine.scheduler.context import SchedulerOptions
from perdure.engine.scheduler.scheduler import Scheduler

__all__ = ["Scheduler", "SchedulerOptions"]
