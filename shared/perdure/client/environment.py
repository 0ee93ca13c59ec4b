"""Where the settings of a connection stand outside of the program: variables, a file, NATS contexts.

All are silent about what they don't hold; whoever asks first wins.
"""

import json
import os
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Required, TypedDict, cast

from perdure.client.connecting import DEFAULT_TARGET
from perdure.core.errors import InvalidInputError

PREFIX: Final = "PERDURE_"
DEFAULT_FILE: Final = "perdure.toml"
NATS_VARIABLES: Final = {
    "NATS_URL": "server",
    "NATS_CREDS": "creds",
    "NATS_NKEY": "nkey",
    "NATS_SEED": "nkey_seed",
    "NATS_USER": "user",
    "NATS_PASSWORD": "password",
    "NATS_TOKEN": "token",
    "NATS_CERT": "tls_cert",
    "NATS_KEY": "tls_key",
    "NATS_CA": "tls_ca",
    "NATS_CONTEXT": "context",
}
_CONTEXT_FIELDS: Final = {
    "url": "server",
    "creds": "creds",
    "nkey": "nkey",
    "user": "user",
    "password": "password",
    "token": "token",
    "cert": "tls_cert",
    "key": "tls_key",
    "ca": "tls_ca",
    "tls_first": "tls_first",
    "inbox_prefix": "inbox_prefix",
    "jetstream_domain": "domain",
    "jetstream_api_prefix": "api_prefix",
}
_ARGUMENTS: Final = {
    "server": "target_host",
    "namespace": "namespace",
    "subject_prefix": "prefix",
    "creds": "credentials",
    "nkey": "nkey",
    "nkey_seed": "nkey_seed",
    "user": "user",
    "password": "password",
    "token": "token",
    "tls_first": "tls_first",
    "inbox_prefix": "inbox_prefix",
    "domain": "domain",
    "api_prefix": "api_prefix",
    "create": "create",
}
"""Settings by the names that ``Client.connect`` has for them."""
_SWITCHES: Final = {"tls_first", "create"}
_SETTINGS: Final = (*_ARGUMENTS, "tls_cert", "tls_key", "tls_ca", "context", "config")


class ClientConnectConfig(TypedDict, total=False):
    """Arguments of ``Client.connect``; those that nobody sets are left out."""

    target_host: Required[str]
    namespace: str
    prefix: str
    tls: ssl.SSLContext
    credentials: str
    nkey: str
    nkey_seed: str
    user: str
    password: str
    token: str
    tls_first: bool
    inbox_prefix: str
    domain: str
    api_prefix: str
    create: bool


class ClientConfig:
    """The surroundings of a program, as arguments of ``Client.connect``."""

    @staticmethod
    def load_client_connect_config(
        profile: str | None = None,
        *,
        config_file: str | None = None,
        disable_file: bool = False,
        disable_env: bool = False,
        config_file_strict: bool = False,
        override_env_vars: Mapping[str, str] | None = None,
    ) -> ClientConnectConfig:
        """``PERDURE_…`` variables, ``NATS_…`` variables, the settings file, a NATS context: the
        first that has a value gives it. ``profile`` names the context; ``target_host`` is always
        there.

        Raises InvalidInputError for a file or context that is named and cannot be read.
        """
        variables = os.environ if override_env_vars is None else override_env_vars
        values = {} if disable_env else _from_variables(variables)
        if not disable_file:
            named = config_file or str(values.get("config", ""))
            known = set(_SETTINGS)
            found = {k: v for k, v in file_values(named).items() if k in known}
            values = {**found, **values}
            values = {**context_values(profile or str(values.get("context", ""))), **values}
        return _arguments(values)


def _from_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    nats = {name: variables[key] for key, name in NATS_VARIABLES.items() if variables.get(key)}
    own = {
        name: variables[PREFIX + name.upper()]
        for name in _SETTINGS
        if variables.get(PREFIX + name.upper())
    }
    return {**nats, **own}


def _arguments(values: Mapping[str, Any]) -> ClientConnectConfig:
    arguments: dict[str, Any] = {"target_host": DEFAULT_TARGET}
    for name, value in values.items():
        if name in _ARGUMENTS:
            arguments[_ARGUMENTS[name]] = _switch(value, name) if name in _SWITCHES else str(value)
    tls = tls_context(*(values.get(name) for name in ("tls_ca", "tls_cert", "tls_key")))
    if tls is not None:
        arguments["tls"] = tls
    return cast("ClientConnectConfig", arguments)


def _switch(value: Any, name: str) -> bool:
    word = str(value).lower()
    if word in ("1", "true", "yes", "on", "t", "y"):
        return True
    if word in ("0", "false", "no", "off", "f", "n"):
        return False
    raise InvalidInputError(f"{name} must be true or false, not {value!r}", field=name)


def tls_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """The context of certificate files; None when none is named. Raises InvalidInputError."""
    if not (ca or cert):
        return None
    try:
        context = ssl.create_default_context(cafile=ca)
        if cert:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInputError(f"the TLS files cannot be used: {error}") from error
    return context


def file_values(named: str) -> dict[str, Any]:
    """What the settings file holds: the named one, else ``perdure.toml`` where it is."""
    path = Path(named or DEFAULT_FILE)
    if not path.is_file():
        if named:
            raise InvalidInputError(f"no settings file {path}: amend {PREFIX}CONFIG or --config")
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the settings file {path} is not TOML: {error}") from error
    return {name.replace("-", "_"): value for name, value in values.items()}


def context_values(name: str) -> dict[str, Any]:
    """The settings that a context of the ``nats`` tool holds; ``name`` empty: the selected one, if
    there is any."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    folder = Path(home) / "nats"
    chosen = name or _selected(folder)
    if not chosen:
        return {}
    path = folder / "context" / f"{chosen}.json"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if not name:
            return {}
        raise InvalidInputError(
            f"there is no NATS context {name!r} ({path}); see `nats context ls`"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"the NATS context {chosen!r} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise InvalidInputError(f"the NATS context {chosen!r} is not a JSON object ({path})")
    values = cast("dict[str, Any]", content)
    found = {ours: values[theirs] for theirs, ours in _CONTEXT_FIELDS.items() if values.get(theirs)}
    for path_field in ("creds", "nkey", "tls_cert", "tls_key", "tls_ca"):
        if path_field in found:
            found[path_field] = os.path.expanduser(os.path.expandvars(str(found[path_field])))
    return found


def _selected(folder: Path) -> str:
    try:
        return (folder / "context.txt").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
