"""``release``: let a quarantined workflow's code run again."""

import typer

from perdure.engine.scheduler.strikes import release as release_run
from perdure_services._shell.errors import Refused
from perdure_services.cli.commands import Session, command
from perdure_services.cli.output import out, print_json
from perdure_services.cli.workflows import Id


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    command(app)(release)


async def release(session: Session, id: Id) -> None:
    """Forget a workflow's strikes: the build that it was quarantined for tries it again."""
    async with session.client() as client:
        handle = client.get_workflow_handle(id)
        before = await handle.describe()
        if before.close_time is not None:
            raise Refused(f"workflow {id!r} is {before.status.name.lower()}: nothing holds it")
        if not before.strikes:
            raise Refused(f"workflow {id!r} has no strikes: nothing holds it back")
        await release_run(client.backend, id)
        # Whoever owns it loads it to answer, and finds it free.
        await handle.describe()
    if session.as_json:
        print_json({"id": id, "status": "released"})
    else:
        out.print(f"{id}: released", markup=False)
