"""Options of ``Client.connect``, as NATS understands them.

Programs written for Temporal's client pass its options, too: what has a counterpart is translated,
what has none is said once, and what concerns security is refused rather than dropped.
"""

import logging
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from perdure.core.errors import InvalidInputError

if TYPE_CHECKING:
    from perdure.adapters.jetstream.backend import JetStreamOptions

DEFAULT_TARGET: Final = "nats://127.0.0.1:4222"
_TEMPORAL_DEFAULT: Final = "localhost:7233"
_WITHOUT_MEANING: Final = frozenset(
    {
        "default_workflow_query_reject_condition",
        "dns_load_balancing_config",
        "header_codec_behavior",
        "keep_alive_config",
        "lazy",
        "retry_config",
        "rpc_metadata",
        "runtime",
    }
)
_SCHEMES: Final = ("nats", "tls", "ws", "wss")
_REFUSED: Final = frozenset({"http_connect_proxy_config", "interceptors", "plugins"})

_logger = logging.getLogger("perdure.client")
_said: set[str] = set()


def default_identity() -> str:
    return f"{os.getpid()}@{socket.gethostname()}"


def options_of(
    target_host: str,
    *,
    namespace: str,
    tls: bool | ssl.SSLContext | None,
    api_key: str | None,
    others: Mapping[str, Any],
) -> "JetStreamOptions":
    """The adapter's options. Raises TypeError for an unknown one, InvalidInputError for a bad one."""
    from perdure.adapters.jetstream.backend import ConnectOptions, JetStreamOptions

    connection: dict[str, Any] = {"servers": _servers(target_host)}
    if tls is not None and tls is not False:
        connection["tls"] = _tls(tls)
    if api_key is not None:
        connection["token"] = api_key
    own: dict[str, Any] = {}
    names = {field.name for field in fields(ConnectOptions)} - {"servers", "tls"}
    own_names = {field.name for field in fields(JetStreamOptions)} - {"connection", "namespace"}
    for name, value in others.items():
        if name in names:
            connection[name] = value
        elif name in own_names:
            own[name] = value
        elif name in _REFUSED:
            if value:
                raise TypeError(f"Client.connect() does not support {name}")
        elif name in _WITHOUT_MEANING:
            _say_once(name, f"Client.connect(): {name} has no meaning on NATS and is ignored")
        else:
            raise TypeError(f"Client.connect() got an unexpected keyword argument {name!r}")
    try:
        options = JetStreamOptions(namespace=namespace, **own)
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    return replace(options, connection=ConnectOptions(**connection))


def _servers(target_host: str) -> tuple[str, ...]:
    if not target_host.strip():
        raise InvalidInputError("target_host cannot be empty", field="target_host")
    if target_host == _TEMPORAL_DEFAULT:
        configured = os.environ.get("PERDURE_SERVER") or os.environ.get("NATS_URL")
        target_host = configured or DEFAULT_TARGET
        _say_once(
            _TEMPORAL_DEFAULT,
            f"{_TEMPORAL_DEFAULT} is Temporal's address: using the configured NATS server",
        )
    hosts = [host.strip() for host in target_host.split(",") if host.strip()]
    return tuple(_server(host if "://" in host else f"nats://{host}") for host in hosts)


def _server(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_good = parts.scheme in _SCHEMES and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise InvalidInputError(
            f"target_host must be host:port or a {', '.join(_SCHEMES)} URL, not {shown!r}",
            field="target_host",
        )
    return url


def _tls(tls: bool | ssl.SSLContext) -> ssl.SSLContext:
    if tls is True:
        return ssl.create_default_context()
    if isinstance(tls, ssl.SSLContext):
        return tls
    raise TypeError(
        f"tls must be True or an ssl.SSLContext, not {type(tls).__name__}: load your certificates "
        "with ssl.create_default_context(cafile=…) and load_cert_chain(…)"
    )


def _say_once(key: str, text: str) -> None:
    if key not in _said:
        _said.add(key)
        _logger.warning(text)
