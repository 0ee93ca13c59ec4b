"""Where settings come from besides flags and ``PERDURE_…``: NATS's own environment, a file, and the
contexts of the ``nats`` command line. The client library knows what they hold.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from perdure.client.environment import NATS_VARIABLES, context_values, file_values
from perdure.core.errors import InvalidInputError
from perdure_services._shell.errors import Refused


class _Source(PydanticBaseSettingsSource):
    """A source that knows all its values at once."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def only_known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        known = self.settings_cls.model_fields
        return {name: value for name, value in values.items() if name in known}

    def named(self, setting: str, read: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
        """What ``read`` finds under the name that a setting gives."""
        try:
            return self.only_known(read(str(self.current_state.get(setting) or "")))
        except InvalidInputError as error:
            raise Refused(str(error)) from error


class NatsEnvironment(_Source):
    """``NATS_URL`` and its kin, as the ``nats`` command reads them."""

    def __call__(self) -> dict[str, Any]:
        return self.only_known(
            {
                name: os.environ[variable]
                for variable, name in NATS_VARIABLES.items()
                if os.environ.get(variable)
            }
        )


class SettingsFile(_Source):
    """A TOML file: the one that ``PERDURE_CONFIG`` names, else ``perdure.toml`` where it is."""

    def __call__(self) -> dict[str, Any]:
        return self.named("config", file_values)


class NatsContext(_Source):
    """The context that a setting names, else the one that ``nats context select`` chose."""

    def __call__(self) -> dict[str, Any]:
        return self.named("context", context_values)


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
