"""The name of a deployment's workflow code, made from the code itself."""

import hashlib
import inspect
import sys
from collections.abc import Mapping

from perdure.core.definitions import WorkflowDefinition

_LENGTH = 16


def build_id(workflows: Mapping[str, WorkflowDefinition]) -> str:
    """A hash of the source of the modules that define ``workflows``: other code, another build.

    Modules that those import do not count: name the build by hand where they decide something.
    Empty when there is no workflow.
    """
    if not workflows:
        return ""
    digest = hashlib.blake2b(digest_size=_LENGTH // 2)
    for name in sorted({definition.cls.__module__ for definition in workflows.values()}):
        digest.update(_source_of(name))
        digest.update(b"\0")
    for name in sorted(workflows):
        digest.update(f"{name}\0".encode())
    return digest.hexdigest()


def _source_of(module_name: str) -> bytes:
    module = sys.modules.get(module_name)
    try:
        return inspect.getsource(module).encode() if module is not None else b""
    except (OSError, TypeError):
        # Typed into an interpreter, or shipped without its source: its name has to do.
        return module_name.encode()
