"""``dead-letters``: what could not be done, why, and how to do it after all."""

from collections.abc import AsyncIterator
from typing import Annotated

import typer
from rich.text import Text

from perdure.ports.backend import Backend
from perdure_services._shell.errors import Refused
from perdure_services.cli.commands import Session, command
from perdure_services.cli.letters import Letter, read_letter, replay_of
from perdure_services.cli.output import err, out, print_json, print_table, shown_age, table

app = typer.Typer(no_args_is_help=True, help="What could not be done.")

Numbers = Annotated[list[int] | None, typer.Argument(help="Letters by number.", metavar="SEQ")]
Kind = Annotated[str | None, typer.Option("--kind", help="start, signal, cancel, activity, event.")]
All = Annotated[bool, typer.Option("--all", help="Every letter (of --kind).")]


async def _list(session: Session, *, kind: Kind = None) -> None:
    """List the letters, oldest first."""
    async with session.backend(admin=True) as backend:
        letters = [letter async for letter in _letters(backend, kind)]
    if session.as_json:
        print_json([_summary(letter) for letter in letters])
        return
    made = table("SEQ", "AGE", "KIND", "WORKFLOW", "REASON", "MESSAGE")
    for letter in letters:
        made.add_row(
            str(letter.seq),
            shown_age(letter.at),
            letter.kind,
            Text(letter.workflow_id),
            letter.reason,
            Text(letter.message),
        )
    if letters:
        print_table(made)
    err.print(f"{len(letters)} dead letters", style="dim")


async def _show(
    session: Session, seq: Annotated[int, typer.Argument(help="A letter's number.")]
) -> None:
    """Show one letter, whole."""
    async with session.backend(admin=True) as backend:
        letter = (await _chosen(backend, [seq], every=False, kind=None))[0]
    if session.as_json:
        print_json({"seq": letter.seq, "at": letter.at.isoformat(), **letter.content})
        return
    made = table("", "")
    made.show_header = False
    for name, value in {"seq": letter.seq, "at": letter.at, **letter.content}.items():
        made.add_row(Text(name, style="bold"), Text(str(value)))
    print_table(made)


async def _replay(
    session: Session, seqs: Numbers = None, *, every: All = False, kind: Kind = None
) -> None:
    """Ask the durable door once more; the letter goes once the request is stored."""
    async with session.link_and_backend() as (link, backend, options):
        letters = await _chosen(backend, seqs or [], every=every, kind=kind)
        requests = [
            (letter, replay_of(letter, options.subjects))
            for letter in letters
            if letter.replayable or not every
        ]
        for letter, request in requests:
            await link.publish(request.subject, request.body, dict(request.headers))
            await backend.dead_letters.remove(letter.seq)
            if not session.as_json:
                out.print(f"{letter.seq}: {request.subject}", markup=False)
    if session.as_json:
        print_json([{"seq": letter.seq, "subject": r.subject} for letter, r in requests])
    elif len(requests) < len(letters):
        left = len(letters) - len(requests)
        err.print(f"{left} letters are no requests and stay where they are", style="dim")


async def _purge(
    session: Session,
    seqs: Numbers = None,
    *,
    every: All = False,
    kind: Kind = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete letters for good."""
    async with session.backend(admin=True) as backend:
        letters = await _chosen(backend, seqs or [], every=every, kind=kind)
        if letters and not yes:
            if not err.is_terminal:
                raise Refused(f"this deletes {len(letters)} letters for good: say --yes")
            typer.confirm(f"Delete {len(letters)} letters for good?", abort=True, err=True)
        for letter in letters:
            await backend.dead_letters.remove(letter.seq)
    if session.as_json:
        print_json({"deleted": [letter.seq for letter in letters]})
    else:
        out.print(f"deleted {len(letters)} letters", markup=False)


command(app, "list")(_list)
command(app, "show")(_show)
command(app, "replay")(_replay)
command(app, "purge")(_purge)


async def _letters(backend: Backend, kind: str | None) -> AsyncIterator[Letter]:
    async for stored in backend.dead_letters.scan():
        letter = read_letter(stored)
        if kind in (None, letter.kind):
            yield letter


async def _chosen(
    backend: Backend, seqs: list[int], *, every: bool, kind: str | None
) -> list[Letter]:
    """The letters that a command is about. Raises Refused for one that is not there."""
    if bool(seqs) == every:
        raise Refused("name letters by their numbers, or all of them with --all")
    found = [letter async for letter in _letters(backend, kind) if every or letter.seq in seqs]
    missing = sorted(set(seqs) - {letter.seq for letter in found})
    if missing:
        raise Refused(f"there is no dead letter {', '.join(map(str, missing))}")
    return found


def _summary(letter: Letter) -> dict[str, object]:
    return {
        "seq": letter.seq,
        "at": letter.at.isoformat(),
        "kind": letter.kind,
        "workflow_id": letter.workflow_id or None,
        "reason": letter.reason,
        "message": letter.message,
        "replayable": letter.replayable,
    }
