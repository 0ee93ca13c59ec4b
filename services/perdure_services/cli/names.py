"""``id encode`` and ``id decode``: free text as one token of a subject or path, and back."""

from typing import Annotated

import typer

from perdure.core.ids import check_id, decode_token, encode_token
from perdure_services._shell.errors import Refused
from perdure_services.cli.failures import report
from perdure_services.cli.output import out

app = typer.Typer(no_args_is_help=True, help="Workflow ids as subject tokens.")


@app.command()
def encode(text: Annotated[str, typer.Argument(help="A workflow id.")]) -> None:
    """The token of an id: `order:123` is `order=3A123`."""
    try:
        out.print(encode_token(check_id(text, "id")), markup=False)
    except ValueError as error:
        raise typer.Exit(report(Refused(str(error)), as_json=False)) from error


@app.command()
def decode(token: Annotated[str, typer.Argument(help="A token of a subject.")]) -> None:
    """The id behind a token."""
    try:
        out.print(decode_token(token), markup=False)
    except ValueError as error:
        raise typer.Exit(report(Refused(str(error)), as_json=False)) from error
