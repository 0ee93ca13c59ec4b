"""``/healthz``, ``/readyz`` and ``/metrics``: small enough to answer when nothing else does."""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from perdure_services._shell.errors import Refused
from perdure_services._shell.metrics import exposition, ready_gauge

_MOST: Final = 16_384
_PATIENCE: Final = 5.0
_TRIES: Final = 100
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Unavailable"}

_logger = logging.getLogger("perdure.health")

type ReadyCheck = Callable[[], Awaitable[str]]
"""Why the process is not ready; empty when it is."""


class HealthServer:
    """Answers as long as the event loop turns: that it does is what ``/healthz`` says."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        any_port: bool,
        ready: ReadyCheck,
        remark: Callable[[], str] = str,
    ) -> None:
        self._host = host
        self._wanted = port
        self._any_port = any_port
        self._ready = ready
        self._remark = remark
        self._server: asyncio.Server | None = None
        self.port = 0
        """Where it listens; 0 while it doesn't."""

    async def start(self) -> None:
        """Listen. Raises Refused when the port is taken and another won't do."""
        if self._wanted == 0:
            return
        for port in range(self._wanted, min(self._wanted + _TRIES, 65_536)):
            try:
                self._server = await asyncio.start_server(self._serve, self._host, port)
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                if self._any_port and taken:
                    continue
                why = "is taken" if taken else f"cannot be used ({error.strerror})"
                raise Refused(
                    f"the health port {self._host}:{port} {why}: "
                    "choose another with --health-port (PERDURE_HEALTH_PORT), 0 for none"
                ) from error
            self.port = port
            return
        raise Refused(f"no free port from {self._wanted} on for health and metrics")

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                writer.write(await self._answer(await _request_line(reader)))
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError, asyncio.IncompleteReadError) as error:
            _logger.debug("a health request was not answered: %r", error)
        finally:
            writer.close()

    async def _answer(self, line: str) -> bytes:
        words = line.split()
        method, path = (words[0], words[1].split("?")[0]) if len(words) > 1 else ("", "")
        if method not in ("GET", "HEAD"):
            return _response(405, "only GET and HEAD\n", head=False)
        head = method == "HEAD"
        match path:
            case "/healthz":
                return _response(200, "ok\n", head=head)
            case "/readyz":
                reason = await self._ready()
                ready_gauge.set(0 if reason else 1)
                text = f"not ready: {reason}\n" if reason else "ready\n"
                if remark := self._remark():
                    text += f"{remark}\n"
                return _response(503 if reason else 200, text, head=head)
            case "/metrics":
                ready_gauge.set(0 if await self._ready() else 1)
                return _response(200, exposition(), head=head, kind=_METRICS_TYPE)
            case _:
                return _response(404, "there are /healthz, /readyz and /metrics\n", head=head)


async def _request_line(reader: asyncio.StreamReader) -> str:
    """The request's first line, once all its headers are read."""
    head = await reader.readuntil(b"\r\n\r\n")
    if len(head) > _MOST:
        raise ValueError("a request with too many headers")
    return head.split(b"\r\n", 1)[0].decode("latin-1")


def _response(
    status: int, body: str | bytes, *, head: bool, kind: str = "text/plain; charset=utf-8"
) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(data)}",
        "Cache-Control: no-store",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (b"" if head else data)
