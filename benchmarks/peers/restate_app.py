"""A Restate service with a workflow of one step, for an ASGI server."""

import importlib
from typing import Any

# Not an extra of perdure: types come only where it is installed.
restate: Any = importlib.import_module("restate")
one_step = restate.Workflow("OneStep")


async def echo(text: str) -> str:
    return text


@one_step.main()
async def run(ctx: Any, text: str) -> str:
    return await ctx.run_typed("echo", echo, text=text)


app = restate.app([one_step])
