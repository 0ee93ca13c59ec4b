"""The ``perdure`` script."""

from importlib.metadata import version
from typing import Annotated

import typer

from perdure_services.cli import (
    dead_letters,
    dev,
    inspection,
    names,
    quarantine,
    services,
    topology,
    workflows,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Durable workflows over NATS JetStream.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
workflow = typer.Typer(no_args_is_help=True, help="The same commands about workflows.")


@app.callback()
def root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    if show_version:
        typer.echo(version("perdure"))
        raise typer.Exit


dev.register(app)
services.register(app)
for group in (app, workflow):
    workflows.register(group)
    inspection.register(group)
    quarantine.register(group)
app.add_typer(workflow, name="workflow", hidden=True)
app.add_typer(names.app, name="id")
app.add_typer(topology.topology, name="topology")
app.add_typer(topology.grants, name="permissions")
app.add_typer(dead_letters.app, name="dead-letters")


def main() -> None:
    """Run the command that the arguments name."""
    app()


if __name__ == "__main__":
    main()
