"""Logs for people at a terminal, as JSON lines for everything else."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_DIM: Final = "\x1b[2m"
_OFF: Final = "\x1b[0m"


class JsonFormatter(logging.Formatter):
    """One JSON object per line, with whatever ``extra`` a record carries."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanFormatter(logging.Formatter):
    """Time, level, where, what."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        head = f"{time} {record.levelname:<7} {record.name}"
        if self._colours:
            head = f"{_COLOURS.get(record.levelname, _DIM)}{head}{_OFF}"
        text = f"{head}  {record.getMessage()}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return text


def set_up_logs(form: Literal["auto", "human", "json"], level: str) -> None:
    """Send the root logger to standard error; ``auto`` is for people when that is a terminal."""
    terminal = sys.stderr.isatty()
    human = form == "human" or (form == "auto" and terminal)
    handler = logging.StreamHandler()
    handler.setFormatter(HumanFormatter(colours=terminal) if human else JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # The client library logs each failed connection with a traceback; the link says it in a line.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
