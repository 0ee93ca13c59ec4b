"""The way into a service process: settings, logs, code, then the shell."""

import logging
import sys
from collections.abc import Callable
from typing import Any

from perdure_services._shell.errors import ExitCode, Refused
from perdure_services._shell.logs import set_up_logs
from perdure_services._shell.running import run_services
from perdure_services._shell.service import Service
from perdure_services._shell.settings import ServiceSettings

_logger = logging.getLogger("perdure.service")


def run_service[S: ServiceSettings](
    settings_class: type[S], load: Callable[[S], Service], **flags: Any
) -> ExitCode:
    """Run one service until a signal; the exit code. Flags that are None were not given."""
    set_up_logs("auto", "INFO")
    try:
        settings = settings_class.load(**flags)
        set_up_logs(settings.log_format, settings.log_level)
        service = load(settings)
    except Refused as error:
        _logger.error("%s", error)
        return ExitCode.REFUSED
    return run_services(lambda: [service], settings)


def main[S: ServiceSettings](settings_class: type[S], load: Callable[[S], Service]) -> ExitCode:
    """As :func:`run_service`, for ``python -m``, which takes no flags."""
    if sys.argv[1:]:
        set_up_logs("auto", "INFO")
        _logger.error("no flags here: settings are PERDURE_… variables; `perdure` takes flags")
        return ExitCode.REFUSED
    return run_service(settings_class, load)
