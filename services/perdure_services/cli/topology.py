"""``topology`` and ``permissions``: a namespace's streams, and who may do what with them."""

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from perdure.adapters.jetstream.permissions import Role, permissions
from perdure.adapters.jetstream.serverconfig import render
from perdure.adapters.jetstream.topology import Difference, ensure, manifest, verify
from perdure_services._shell.errors import ExitCode
from perdure_services.cli.commands import Session, command
from perdure_services.cli.output import compact, out, print_json, print_table, table

topology = typer.Typer(no_args_is_help=True, help="The streams of a namespace.")
grants = typer.Typer(no_args_is_help=True, help="Who may do what on the server.")


async def _print(session: Session) -> None:
    """Print the streams as JSON, for `nats stream add --config` and the like. Connects nowhere."""
    options = session.options()
    out.print(manifest(options.subjects, options.topology), markup=False)


async def _verify(session: Session) -> ExitCode:
    """Compare the server with what is needed; exit code 2 when something differs."""
    async with session.link() as (link, options):
        differences = await verify(link, options.subjects, options.topology)
    if session.as_json:
        print_json([_as_json(difference) for difference in differences])
    elif differences:
        _print_differences(differences)
    else:
        out.print(f"namespace {options.namespace}: every stream is as it should be", markup=False)
    return ExitCode.REFUSED if differences else ExitCode.OK


async def _apply(session: Session) -> None:
    """Make what is missing and amend what may be amended; nothing is ever deleted."""
    async with session.link() as (link, options):
        differences = await ensure(link, options.subjects, options.topology)
    if session.as_json:
        print_json([_as_json(difference) for difference in differences])
    elif differences:
        _print_differences(differences)
        out.print(f"namespace {options.namespace}: applied", markup=False)
    else:
        out.print(f"namespace {options.namespace}: nothing to do", markup=False)


async def _print_permissions(
    session: Session,
    *,
    role: Annotated[
        list[Role] | None, typer.Option("--role", help="Repeatable; else every role.")
    ] = None,
) -> None:
    """Print the permissions of a role as nats-server's configuration takes them."""
    options = session.options()
    found: dict[str, dict[str, Any]] = {}
    for one in role or list(Role):
        allowed = permissions(options.subjects, one)
        found[one.value] = {
            "publish": {"allow": list(allowed.publish)},
            "subscribe": {"allow": list(allowed.subscribe)},
        }
    if session.as_json:
        out.print(json.dumps(found, indent=2), markup=False)
        return
    for name, block in found.items():
        out.print(f"# {name}", markup=False)
        out.print(render({"permissions": block}), markup=False, end="")


command(topology, "print", json=False)(_print)
command(topology, "verify")(_verify)
command(topology, "apply")(_apply)
command(grants, "print")(_print_permissions)


def _as_json(difference: Difference) -> dict[str, Any]:
    return {
        "stream": difference.stream,
        "field": difference.field,
        "found": difference.found,
        "wanted": difference.wanted,
        "remedy": difference.remedy,
        "reason": difference.reason or None,
    }


def _print_differences(differences: list[Difference]) -> None:
    made = table("STREAM", "FIELD", "FOUND", "WANTED", "REMEDY", "WHY")
    for difference in differences:
        made.add_row(
            Text(difference.stream),
            difference.field,
            Text("" if difference.found is None else compact(difference.found)),
            Text("" if difference.wanted is None else compact(difference.wanted)),
            Text(difference.remedy, style="red" if difference.remedy == "refuse" else ""),
            Text(difference.reason),
        )
    print_table(made)
