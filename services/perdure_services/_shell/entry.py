"""The way into a service process: settings, logs, code, then the shell."""

import logging
import sys
from collections.abc import Callable
from typing import Any

from perdure_services._shell.errors import ExitCode, Refused
from perdure_services._shell.logs import set_up_logs
from perdure_services._shell.running import run_services
from perdure_services._shell.service import Service
from perdure_services._shell.settings import ServiceSettings, SupervisedSettings
from perdure_services._shell.supervision import Ward, supervise

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


def run_supervised[S: SupervisedSettings](
    settings_class: type[S], load: Callable[[S, Ward], Service], **flags: Any
) -> int:
    """As :func:`run_service`, in a child process that is replaced when users' code ends it."""
    set_up_logs("auto", "INFO")
    try:
        settings = settings_class.load(**flags)
    except Refused as error:
        _logger.error("%s", error)
        return ExitCode.REFUSED
    set_up_logs(settings.log_format, settings.log_level)

    def work(ward: Ward) -> int:
        try:
            service = load(settings, ward)
        except Refused as error:
            _logger.error("%s", error)
            return ExitCode.REFUSED
        return run_services(lambda: [service], settings)

    return supervise(work, settings.limits)


def refuses_flags() -> bool:
    """Whether ``python -m`` was given flags, which it does not take."""
    if sys.argv[1:]:
        set_up_logs("auto", "INFO")
        _logger.error("no flags here: settings are PERDURE_… variables; `perdure` takes flags")
    return bool(sys.argv[1:])


def main[S: ServiceSettings](settings_class: type[S], load: Callable[[S], Service]) -> ExitCode:
    """As :func:`run_service`, for ``python -m``."""
    return ExitCode.REFUSED if refuses_flags() else run_service(settings_class, load)


def main_supervised[S: SupervisedSettings](
    settings_class: type[S], load: Callable[[S, Ward], Service]
) -> int:
    """As :func:`run_supervised`, for ``python -m``."""
    return ExitCode.REFUSED if refuses_flags() else run_supervised(settings_class, load)
