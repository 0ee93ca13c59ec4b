"""Judging what outsiders were told and shown: all of it came true, and nothing of it was lost."""

from __future__ import annotations

from typing import Any

import msgspec
from support.storm.deployment import Deployment
from support.storm.lookers import Sight
from support.storm.promises import Histories, Judged, promise
from support.storm.stories import Letter, Request, Story

from perdure.client.histories import WorkflowHistory
from perdure.core.errors import WorkflowFailureError
from perdure.core.state import Status


def judge_senders(one: Deployment, stories: list[Story], histories: Histories) -> None:
    """Every start, letter and look of every story."""
    refused = _refused(one)
    wanted = {story.run for story in stories}
    for workflow_id, run in histories:
        promise(run in wanted, f"run {run} was never asked for", workflow_id)
    for story in stories:
        run = histories.get((story.workflow_id, story.run))
        _judge_start(story, run, refused, histories)
        if run is not None:
            _judge_end(story, run, stories)
        for letter in story.letters:
            if letter.accepted:
                _judge_letter(story, letter, histories)
        for request in story.events:
            _judge_request(one, story, request, refused, histories)
        for sight in story.sights:
            if run is not None:
                _judge_sight(sight, run)


def _refused(one: Deployment) -> dict[int, dict[str, Any]]:
    """Letters of requests that the front door refused, by sequence."""
    found: dict[int, dict[str, Any]] = {}
    for body in one.chronicle.letters:
        letter = msgspec.json.decode(body)
        if "ingress_seq" in letter:
            found[letter["ingress_seq"]] = letter
    return found


def _judge_start(
    story: Story, run: Judged | None, refused: dict[int, dict[str, Any]], histories: Histories
) -> None:
    told, where = story.told, story.workflow_id
    if story.request is not None:
        letter = refused.get(story.request.seq)
        words: set[tuple[bool, str]] = {
            (reply["ok"], str(reply.get("status", reply.get("code"))))
            for reply in story.request.replies
        }
        if _was_reconsidered(letter, run, words):
            told = "new"
        elif letter is not None:
            told = "refused"
            promise(not any(ok for ok, _ in words), f"buried, and told {words}", where)
        else:
            existing = (True, "existing") in words or (not words and run is None)
            told = "existing" if existing else "new"
            promise(all(ok for ok, _ in words), f"told {words}, and not buried", where)
    if told == "new":
        promise(run is not None, f"the start of run {story.run} was accepted and lost", where)
        promise(run is None or run.kind == story.kind, f"another kind: {run}", where)
    elif story.told:
        promise(run is None, f"run {story.run} was {told}, and ran", where)
    if story.other_run:
        known = (story.workflow_id, story.other_run) in histories
        promise(known, f"run {story.other_run} stood in the way, and never was", where)


def _was_reconsidered(
    letter: dict[str, Any] | None, run: Judged | None, words: set[tuple[bool, str]]
) -> bool:
    """Whether a start met a run in its place, at a drainer that died before it had settled the
    request, and was begun by the next one: the id was free by then."""
    refused = letter is not None and letter["reason"] == "already_started"
    told = {(False, "already_started"), (True, "existing"), (True, "started")}
    return run is not None and words <= told and (refused or (True, "existing") in words)


def _judge_end(story: Story, run: Judged, stories: list[Story]) -> None:
    """It ended as its kind does, or because somebody else wanted its id."""
    ends = set(story.traits.ends)
    others = [s for s in stories if s.workflow_id == story.workflow_id and s is not story]
    if any(other.conflict.name == "TERMINATE_EXISTING" for other in others):
        ends.add(Status.TERMINATED)
    if any(request.kind == "cancel" for other in others for request in other.events):
        # A cancellation for whichever run is open when the drainer comes to it.
        ends.add(Status.CANCELED)
    promise(
        run.status in ends,
        f"run {run.run} ({run.kind}) ended as {run.close!r:.300}",
        run.workflow_id,
    )


def _judge_letter(story: Story, letter: Letter, histories: Histories) -> None:
    run = histories.get((story.workflow_id, letter.run))
    promise(run is not None, f"letter {letter} went to no run", story.workflow_id)
    if run is not None and run.status is not Status.TERMINATED:
        promise(letter.eid in run.eids, f"letter {letter} was accepted and lost", story.workflow_id)


def _judge_request(
    one: Deployment,
    story: Story,
    request: Request,
    refused: dict[int, dict[str, Any]],
    histories: Histories,
) -> None:
    """A signal or cancellation by the front door: taken by one run, or refused."""
    runs = [run for (workflow_id, _), run in histories.items() if workflow_id == story.workflow_id]
    takers = [run for run in runs if request.eid in run.eids]
    where = f"request #{request.seq} ({request.kind})"
    # Each drainer that dies before it has settled it may leave it to one more run of a reused id.
    drainers = sum(p.lives for name, p in one.processes.items() if name.startswith("g-"))
    promise(len(takers) <= drainers, f"{where} was taken by several runs", story.workflow_id)
    letter = refused.get(request.seq)
    if (
        letter is not None
        and takers
        and letter["reason"] in ("workflow_closed", "unknown_workflow")
    ):
        # Handled twice, by a drainer that died before it had settled it and by the next one, while
        # the id's run ended, another began, or the purge left nothing to tell of the first time.
        return
    words = [reply["ok"] for reply in request.replies]
    promise(len(set(words)) <= 1, f"{where}: the door said {words}", story.workflow_id)
    if letter is not None:
        promise(not takers, f"{where} was buried, and taken", story.workflow_id)
        promise(True not in words, f"{where} was buried, and told {words}", story.workflow_id)
        return
    promise(False not in words, f"{where} was told {words}, and not buried", story.workflow_id)
    dropped = any(run.status is Status.TERMINATED for run in runs)
    promise(takers or dropped, f"{where} was settled and lost", story.workflow_id)


def _judge_sight(sight: Sight, run: Judged) -> None:
    shown: Any = sight.shown
    match sight.what:
        case "answer":
            lost = set(sight.expected) - set(shown)
            dropped = run.status is Status.TERMINATED
            promise(not lost or dropped, f"a query lacked {lost} of {shown}", run.workflow_id)
        case "description":
            mine = shown.run_id == run.run and shown.workflow_type == run.kind
            promise(mine, f"described as {shown}", run.workflow_id)
            true = shown.status.name in ("RUNNING", run.status.name)
            promise(true, f"described as {shown.status}, ended {run.status}", run.workflow_id)
        case "history":
            _judge_history(shown, run)
        case _:
            failed = isinstance(shown, WorkflowFailureError)
            completed = run.status is Status.COMPLETED
            promise(failed is not completed, f"result {shown!r:.200}", run.workflow_id)


def _judge_history(shown: WorkflowHistory, run: Judged) -> None:
    """What was shown is the beginning of what was: but for a close, which may have been void."""
    seen = [turn.stored.seq for turn in shown.turns if turn.record.close is None]
    kept = [turn.stored.seq for turn in run.history.all_turns]
    promise(kept[: len(seen)] == seen, f"a history had {seen}, it is {kept}", run.workflow_id)


__all__ = ["judge_senders"]
