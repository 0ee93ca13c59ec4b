"""How to reach NATS."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class ConnectOptions:
    """Servers, identity and patience of a link. Seconds, as the client library counts."""

    servers: Sequence[str] = ("nats://127.0.0.1:4222",)
    name: str = "perdure"
    credentials: str | None = None
    """Path of a credentials file."""
    nkey: str | None = None
    """Path of an NKEY seed file."""
    nkey_seed: str | None = None
    user: str | None = None
    password: str | None = None
    token: str | None = None
    tls: ssl.SSLContext | None = None
    tls_hostname: str | None = None
    tls_first: bool = False
    inbox_prefix: str = "_INBOX"
    domain: str | None = None
    """JetStream domain; ``api_prefix`` (without a final dot) takes precedence."""
    api_prefix: str | None = None
    connect_timeout: float = 2.0
    start_timeout: float = 10.0
    """How long the first connection may take before it fails."""
    wait_forever: bool = False
    """Keep trying instead."""
    reconnect_wait: float = 0.5
    ping_interval: int = 5
    buffer: int = 8 * 1024 * 1024
    """Bytes held back while the socket is slow or the server away."""
    on_refusal: Callable[[int], None] | None = None
    """Told the number of each error that JetStream answers with. It must not raise."""

    @property
    def addresses(self) -> str:
        """The servers for people: without what may be secret."""
        return ", ".join(_plain(server) for server in self.servers)

    @property
    def api(self) -> str:
        if self.api_prefix:
            return self.api_prefix
        return f"$JS.{self.domain}.API" if self.domain else "$JS.API"


def _plain(server: str) -> str:
    parts = urlsplit(server if "://" in server else f"nats://{server}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
