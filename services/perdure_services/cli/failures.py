"""Errors as one clear line and an exit code."""

import json
from typing import Final

from perdure.adapters.jetstream.embedded import EmbeddedServerError
from perdure.adapters.jetstream.errors import ServerTooOld
from perdure.adapters.jetstream.topology import TopologyError
from perdure.core.errors import PerdureError, UnavailableError, WorkflowFailureError
from perdure.ports.errors import PortError
from perdure_services._shell.errors import ExitCode, Refused
from perdure_services.cli.output import err

EXPECTED: Final = (PerdureError, PortError, Refused, TimeoutError)


def exit_code(error: Exception) -> ExitCode:
    """What the process says of an expected error."""
    match error:
        case WorkflowFailureError():
            return ExitCode.WORKFLOW_FAILED
        case ServerTooOld() | Refused() | TopologyError():
            return ExitCode.REFUSED
        case UnavailableError() | PortError() | TimeoutError() | EmbeddedServerError():
            return ExitCode.UNAVAILABLE
        case _:
            return ExitCode.REFUSED


def code_of(error: Exception) -> str:
    """One machine-readable word."""
    match error:
        case PerdureError():
            return error.code
        case ServerTooOld():
            return "server_too_old"
        case PortError():
            return "unavailable"
        case TimeoutError():
            return "timeout"
        case _:
            return "refused"


def report(error: Exception, *, as_json: bool) -> ExitCode:
    """Say what went wrong; the exit code for it."""
    code = code_of(error)
    if as_json:
        err.print(
            json.dumps({"error": {"code": code, "message": str(error)}}, ensure_ascii=False),
            markup=False,
        )
    else:
        err.print(f"perdure: {code}: {error}", markup=False, style="red")
    return exit_code(error)
