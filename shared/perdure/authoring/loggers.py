"""The logger adapter that adds to a record which workflow or activity it comes from."""

import logging
from collections.abc import Mapping
from typing import Any


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """Appends details to messages and puts them into ``extra``. Subclasses say which."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})

    @property
    def base_logger(self) -> logging.Logger:
        """The logger behind the adapter, which adds nothing."""
        return self.logger

    def details(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What goes onto the message and what goes into ``extra``; both empty outside."""
        raise NotImplementedError

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log ``msg`` with the details, when this level is enabled here and now."""
        if not self.isEnabledFor(level):
            return
        on_message, extra = self.details()
        if on_message:
            suffix = f" ({dict(on_message)})"
            # With arguments the message is a %-format, and ids may hold percent signs.
            msg = f"{msg}{suffix.replace('%', '%%') if args else suffix}"
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, msg, *args, **kwargs)
