"""How full the store is, for metrics and for whoever looks at a process's health."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import Gauge

from perdure.engine.admission import Admission
from perdure.ports.backend import Backend

_BEAT: Final = 5.0
_logger = logging.getLogger("perdure.store")

_used = Gauge("perdure_store_used_bytes", "What the namespace's account takes of the store.")
_limit = Gauge("perdure_store_limit_bytes", "What it may take; 0: no limit is known.")
_admitted = Gauge("perdure_starts_admitted", "0 while the store is too full for new workflows.")


class StoreWatch:
    """Looks now and then; ``remark`` is empty while there is nothing to say."""

    def __init__(self) -> None:
        self.remark = ""

    @asynccontextmanager
    async def watching(self, backend: Backend) -> AsyncGenerator[None]:
        task = asyncio.get_running_loop().create_task(self._watch(Admission(backend)))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, admission: Admission) -> None:
        while True:
            before, self.remark = self.remark, await admission.refusal()
            if bool(before) != bool(self.remark):
                _logger.warning("%s", self.remark or "the store has room again for new workflows")
            _used.set(admission.usage.used)
            _limit.set(admission.usage.limit)
            _admitted.set(0 if self.remark else 1)
            await asyncio.sleep(_BEAT)
