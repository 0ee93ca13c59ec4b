"""Making one nats-py client: bounded or endless tries, guarded callbacks, a version check."""

import asyncio
import logging
import re
from typing import Any, Final, Protocol

from nats.errors import Error as ClientError

from perdure.adapters.jetstream.errors import ServerTooOld
from perdure.adapters.jetstream.options import ConnectOptions
from perdure.adapters.jetstream.wire import WireClient
from perdure.ports.errors import Unavailable

log = logging.getLogger("perdure.nats")

NEEDED: Final = (2, 14)
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")
_REFUSED: Final = ("authorization", "authentication", "account")


class Listener(Protocol):
    """Who wants to know how a client fares."""

    def heard_down(self, client: WireClient) -> None: ...
    def heard_up(self, client: WireClient) -> None: ...
    def heard_closed(self, client: WireClient) -> None: ...
    def heard_error(self, client: WireClient, error: Exception) -> None: ...


class _Attempt:
    """The callbacks of one client. None of them may raise: that would stop its read loop."""

    def __init__(self, client: WireClient, listener: Listener) -> None:
        self._client = client
        self._listener = listener
        self.established = False
        self.last: Exception | None = None
        self.refused = asyncio.Event()

    async def error(self, error: Exception) -> None:
        if not self.established:
            self.last = error
            if any(word in str(error).lower() for word in _REFUSED):
                self.refused.set()
            return
        self._guarded(lambda: self._listener.heard_error(self._client, error))

    async def down(self) -> None:
        if self.established:
            self._guarded(lambda: self._listener.heard_down(self._client))

    async def up(self) -> None:
        self._guarded(lambda: self._listener.heard_up(self._client))

    async def closed(self) -> None:
        if self.established:
            self._guarded(lambda: self._listener.heard_closed(self._client))

    async def lame_duck(self) -> None:
        """The server is about to go: move while there is time, unless there is nowhere to move."""
        try:
            if not self._client.alone:
                await self._client.force_reconnect()
        except Exception:
            log.exception("leaving a server in lame duck mode")

    def _guarded(self, call: Any) -> None:
        try:
            call()
        except Exception:
            log.exception("a connection callback raised")


async def open_client(options: ConnectOptions, listener: Listener, *, forever: bool) -> WireClient:
    """A connected client. Raises Unavailable or ServerTooOld, unless ``forever``."""
    pause = options.reconnect_wait
    while True:
        try:
            return await _try_to_open(options, listener, None if forever else options.start_timeout)
        except ServerTooOld:
            raise
        except Unavailable as error:
            if not forever:
                raise
            log.warning("%s", error)
        await asyncio.sleep(pause)
        pause = min(pause * 2, 5.0)


async def _try_to_open(
    options: ConnectOptions, listener: Listener, limit: float | None
) -> WireClient:
    client = WireClient()
    attempt = _Attempt(client, listener)
    connecting = asyncio.ensure_future(client.connect(**_arguments(options, attempt)))
    refused = asyncio.ensure_future(attempt.refused.wait())
    try:
        await asyncio.wait(
            (connecting, refused), timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
        if connecting.done() and not connecting.cancelled():
            connecting.result()
            _check_version(client, options)
            attempt.established = True
            return client
    except (ClientError, OSError, TimeoutError) as error:
        attempt.last = error
    finally:
        refused.cancel()
        if not attempt.established:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await _discard(client)
    raise _unreachable(options, attempt, limit) from attempt.last


def _unreachable(options: ConnectOptions, attempt: _Attempt, limit: float | None) -> Unavailable:
    reason = str(attempt.last) or repr(attempt.last)
    if attempt.refused.is_set():
        return Unavailable(f"NATS at {options.addresses} refuses this identity: {reason}")
    tried = "" if limit is None else f" (tried for {limit:g} s)"
    return Unavailable(
        f"cannot reach NATS at {options.addresses}{tried}: {reason}. "
        "Is the server running, and is the address right?"
    )


async def _discard(client: WireClient) -> None:
    try:
        await client.close()
    except Exception:
        log.debug("closing a client that never connected", exc_info=True)


def _check_version(client: WireClient, options: ConnectOptions) -> None:
    match = _VERSION.match(client.version)
    if match is None or (int(match[1]), int(match[2])) < NEEDED:
        raise ServerTooOld(
            f"NATS at {options.addresses} is nats-server {client.version or 'of unknown version'}; "
            f"perdure needs {NEEDED[0]}.{NEEDED[1]} or newer: upgrade the server"
        )


def _arguments(options: ConnectOptions, attempt: _Attempt) -> dict[str, Any]:
    return {
        "servers": list(options.servers),
        "name": options.name,
        "error_cb": attempt.error,
        "disconnected_cb": attempt.down,
        "reconnected_cb": attempt.up,
        "closed_cb": attempt.closed,
        "lame_duck_mode_cb": attempt.lame_duck,
        "allow_reconnect": True,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": options.reconnect_wait,
        "connect_timeout": options.connect_timeout,
        "ping_interval": options.ping_interval,
        "max_outstanding_pings": 2,
        "tls": options.tls,
        "tls_hostname": options.tls_hostname,
        "tls_handshake_first": options.tls_first,
        "user": options.user,
        "password": options.password,
        "token": options.token,
        "user_credentials": options.credentials,
        "nkeys_seed": options.nkey,
        "nkeys_seed_str": options.nkey_seed,
        "inbox_prefix": options.inbox_prefix,
        "pending_size": options.buffer,
        "flush_timeout": 2.0,
        "drain_timeout": 5,
    }
