"""Log lines for machines and for people."""

import json
import logging
import sys

from perdure_services._shell.logs import HumanFormatter, JsonFormatter


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("perdure.test", logging.WARNING, "f.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def test_json_lines_carry_extras_and_exceptions() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        failed = record("order %s", "ö-1", workflow_id="w-1")
        failed.exc_info = sys.exc_info()
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    content = json.loads(line)
    assert content["message"] == "order ö-1"
    assert content["level"] == "warning"
    assert content["logger"] == "perdure.test"
    assert content["workflow_id"] == "w-1"
    assert "ValueError: broken" in content["exception"]


def test_people_read_time_level_place_and_text() -> None:
    line = HumanFormatter(colours=False).format(record("away"))
    assert line[8:] == " WARNING perdure.test  away"
    assert "\x1b[33m" in HumanFormatter(colours=True).format(record("away"))
