"""Users' code for a process: the modules that ``--import`` names."""

import os
import sys
import traceback
from collections.abc import Sequence

from perdure.authoring.app import App
from perdure.exceptions import PerdureError
from perdure_services._shell.errors import Refused


def load_app(specs: Sequence[str]) -> App:
    """The definitions of ``package.module[:app]``; the current directory is searched first.

    Raises Refused saying where the code went wrong.
    """
    if not specs:
        raise Refused(
            "there is no code to run: name it with --import package.module[:app] (PERDURE_IMPORT)"
        )
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return App.from_modules(list(specs))
    except (ImportError, ValueError, TypeError, PerdureError) as error:
        raise Refused(f"{error}{_place(error)}") from error
    except Exception as error:
        # A module may raise anything while it is imported.
        names = ", ".join(specs)
        raise Refused(
            f"importing {names} failed: {type(error).__name__}: {error}{_place(error)}"
        ) from error


def _place(error: BaseException) -> str:
    """Where in users' code it happened, when it did happen there."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    ours = (
        last is None or os.sep + "perdure" + os.sep in last.filename or "importlib" in last.filename
    )
    return "" if ours or last is None else f" ({last.filename}:{last.lineno})"
