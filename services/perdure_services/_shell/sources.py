"""Where settings come from besides flags and ``PERDURE_…``: NATS's own environment, a file, and the
contexts of the ``nats`` command line.

All three are silent about what they don't hold; whoever asks first wins.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from perdure_services._shell.errors import Refused

DEFAULT_FILE: Final = "perdure.toml"

_NATS_ENVIRONMENT: Final = {
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


class _Source(PydanticBaseSettingsSource):
    """A source that knows all its values at once."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def only_known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        known = self.settings_cls.model_fields
        return {name: value for name, value in values.items() if name in known}


class NatsEnvironment(_Source):
    """``NATS_URL`` and its kin, as the ``nats`` command reads them."""

    def __call__(self) -> dict[str, Any]:
        return self.only_known(
            {
                name: os.environ[variable]
                for variable, name in _NATS_ENVIRONMENT.items()
                if os.environ.get(variable)
            }
        )


class SettingsFile(_Source):
    """A TOML file: the one that ``PERDURE_CONFIG`` names, else ``perdure.toml`` where it is."""

    def __call__(self) -> dict[str, Any]:
        named = self.current_state.get("config") or ""
        path = Path(named or DEFAULT_FILE)
        if not path.is_file():
            if named:
                raise Refused(f"no settings file {path}: amend PERDURE_CONFIG or --config")
            return {}
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Refused(f"the settings file {path} is not TOML: {error}") from error
        return self.only_known({name.replace("-", "_"): value for name, value in values.items()})


class NatsContext(_Source):
    """The context that a setting names, else the one that ``nats context select`` chose."""

    def __call__(self) -> dict[str, Any]:
        return self.only_known(context_values(str(self.current_state.get("context") or "")))


def context_values(name: str) -> dict[str, Any]:
    """The settings that a context holds; ``name`` empty: the selected one, if there is any."""
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
        raise Refused(
            f"there is no NATS context {name!r} ({path}); see `nats context ls`"
        ) from error
    except (OSError, ValueError) as error:
        raise Refused(f"the NATS context {chosen!r} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise Refused(f"the NATS context {chosen!r} is not a JSON object ({path})")
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


def sources(
    settings_cls: type[BaseSettings],
    flags: PydanticBaseSettingsSource,
    own: PydanticBaseSettingsSource,
) -> tuple[PydanticBaseSettingsSource, ...]:
    """Flag, ``PERDURE_``, ``NATS_``, file, NATS context: the first that has a value gives it."""
    return (
        flags,
        own,
        NatsEnvironment(settings_cls),
        SettingsFile(settings_cls),
        NatsContext(settings_cls),
    )
