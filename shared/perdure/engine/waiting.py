"""Waiting until STATE says something: subscribe, read, and read again now and then."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from perdure.core.errors import UnavailableError
from perdure.core.state import StateEntry, decode_state
from perdure.ports.backend import Backend
from perdure.ports.errors import Closed, PortError, Unavailable, UnknownOutcome

REREAD: Final = 5.0
"""A notification may be lost: whoever waits reads again after this many seconds."""


async def wait_for_state(
    backend: Backend,
    workflow_id: str,
    satisfied: Callable[[StateEntry | None], bool],
    *,
    timeout: float | None = None,
    reread: float = REREAD,
) -> StateEntry | None:
    """The first entry seen that satisfies. Raises TimeoutError when none did within ``timeout``.

    An unreachable store is waited for as long as the timeout allows; UnavailableError when this
    side has closed the connection.
    """
    changed = asyncio.Event()
    newest: list[bytes] = []

    def notice(data: bytes) -> None:
        newest.append(data)
        changed.set()

    async with asyncio.timeout(timeout):
        subscription = None
        try:
            while True:
                try:
                    if subscription is None:
                        subscription = await backend.state.watch(workflow_id, notice)
                    found = await backend.state.read(workflow_id)
                    entry = decode_state(found[0]) if found else None
                    if satisfied(entry):
                        return entry
                except Closed as error:
                    raise UnavailableError(
                        f"could not wait for workflow {workflow_id!r}: {error}. Connect anew."
                    ) from error
                except (Unavailable, UnknownOutcome):
                    await asyncio.sleep(min(reread, 0.5))
                    continue
                entry = await _notified(changed, newest, satisfied, reread)
                if entry is not None:
                    return entry
        finally:
            if subscription is not None:
                with contextlib.suppress(PortError):
                    await subscription.close()


async def _notified(
    changed: asyncio.Event,
    newest: list[bytes],
    satisfied: Callable[[StateEntry | None], bool],
    seconds: float,
) -> StateEntry | None:
    """An entry that was announced within ``seconds`` and satisfies."""
    # A timer costs less than a timeout, and this is in the way of every result.
    timer = asyncio.get_running_loop().call_later(seconds, changed.set)
    try:
        while True:
            await changed.wait()
            changed.clear()
            announced, newest[:] = newest[:], []
            if not announced:
                return None
            for data in announced:
                entry = decode_state(data)
                if satisfied(entry):
                    return entry
    finally:
        timer.cancel()
