"""``perdure.worker``: run workflows and activities in a program of one's own.

May live here: checking of arguments, composing the engine's parts over a client's connection, and
how a program that works is interrupted. What running means stands in the engine. Names follow
Temporal's Python SDK.
"""

from perdure.worker.build import build_id
from perdure.worker.worker import Worker, WorkerConfig

__all__ = ["Worker", "WorkerConfig", "build_id"]
