"""Judging activities: each ran to its outcome, and again only for a cause that has a name.

A task is offered again when its lease ended; a lease ends because its holder died, stood still or
left, or because the offer or a word about it was lost, late or doubled. An attempt is followed by
another when its code failed, when its worker was lost, or when the worker put it back.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from support.storm.chronicle import Chronicle, Execution, Offer, TaskMessage
from support.storm.deployment import Deployment
from support.storm.promises import Broken, Histories, promise

from perdure.core.commands import ScheduleActivity
from perdure.core.events import ActivityCanceled, ActivityCompleted, ActivityFailed, decode_event
from perdure.ports.addresses import Lane

_GRACE = 0.001


def judge_activities(one: Deployment, histories: Histories) -> None:
    by_key: defaultdict[str, list[int]] = defaultdict(list)
    for seq, message in one.chronicle.tasks.items():
        by_key[f"{message.key.run}:{message.key.n}"].append(seq)
    outcomes = _outcomes(one.chronicle)
    for (workflow_id, run_id), run in histories.items():
        effective: defaultdict[int, int] = defaultdict(int)
        scheduled = {
            command.n
            for turn in run.history.all_turns
            for command in turn.record.commands
            if isinstance(command, ScheduleActivity)
        }
        for turn in run.history.all_turns:
            for applied in turn.events:
                event = applied.event
                if isinstance(event, ActivityCompleted) and event.n in scheduled:
                    effective[event.n] += 1
        for n in scheduled:
            key = f"{run_id}:{n}"
            executions = one.chronicle.executions.get(key, [])
            returned = [e for e in executions if e.how == "returned"]
            done = effective[n] == 0 or returned
            promise(done, f"activity {key} is said to be done, and never was", workflow_id)
            _judge_repetitions(one, key, executions, by_key[key], outcomes.get(key), workflow_id)


def _outcomes(chronicle: Chronicle) -> dict[str, float]:
    """When the first outcome of each activity was durable."""
    found: dict[str, float] = {}
    for messages in chronicle.log.values():
        for lane, stored in messages:
            if lane is Lane.ENGINE:
                event = decode_event(stored.data)
                if isinstance(event, ActivityCompleted | ActivityFailed | ActivityCanceled):
                    key = f"{event.run}:{event.n}"
                    found.setdefault(key, chronicle.stored_at[stored.seq])
    return found


def _judge_repetitions(
    one: Deployment,
    key: str,
    executions: list[Execution],
    seqs: list[int],
    durable_at: float | None,
    workflow_id: str,
) -> None:
    if len(executions) <= 1:
        return
    chronicle = one.chronicle
    failed = sum(1 for execution in executions[:-1] if execution.how == "raised")
    causes = [cause for seq in seqs for cause in _causes_of_offers(chronicle, seq)]
    causes += _put_back([chronicle.tasks[seq] for seq in seqs])
    causes += [
        f"{execution.life} stood still" for execution in executions[:-1] if _froze(execution)
    ]
    repeated = len(executions) - 1 - failed
    promise(
        repeated <= len(causes),
        f"activity {executions[0].name} {key} ran {len(executions)} times: {_told(executions)}; "
        f"{failed} failed, causes: {causes}",
        workflow_id,
    )
    if durable_at is not None:
        _judge_late(chronicle, executions, seqs, durable_at, workflow_id)


def _judge_late(
    chronicle: Chronicle,
    executions: list[Execution],
    seqs: list[int],
    durable_at: float,
    workflow_id: str,
) -> None:
    """Whoever is offered a task whose outcome is in the log finds it there, unless the offer itself
    was an old one that came late."""
    offers = [offer for seq in seqs for offer in chronicle.offers[seq]]
    for execution in executions:
        mine = [
            offer
            for offer in offers
            if offer.life is execution.life
            and offer.at <= execution.began
            and chronicle.tasks[offer.seq].task.attempt == execution.attempt
        ]
        if execution.began <= durable_at or not mine:
            continue
        offer = mine[-1]
        if offer.at > durable_at and not any("delivery" in fault for fault in offer.faults):
            raise Broken(
                f"{execution.name} ran at {execution.began:.3f} for an offer at {offer.at:.3f}, its "
                f"outcome was there at {durable_at:.3f}: {_told(executions)}",
                workflow_id,
            )


def _causes_of_offers(chronicle: Chronicle, seq: int) -> list[str]:
    """Why a task's message was in more than one pair of hands."""
    offers = chronicle.offers[seq]
    causes: list[str] = []
    for before, offer in pairwise(offers):
        cause = _cause(before, offer)
        if cause is None:
            raise Broken(
                f"task #{seq} was offered again at {offer.at:.3f} to {offer.life} without cause: "
                f"{before.life} had it since {before.at:.3f}",
                chronicle.tasks[seq].key.workflow_id,
            )
        causes.append(cause)
    doubled = ("Duplicated tasks.delivery", "Delayed tasks.delivery", "Reordered tasks.delivery")
    causes += [fault for offer in offers for fault in offer.faults if fault in doubled]
    return causes


def _cause(before: Offer, offer: Offer) -> str | None:
    life = before.life
    if before.said == "tasks.nak":
        return f"{life} handed it back"
    if life.ended and life.ended <= offer.at + _GRACE:
        return f"{life} {'died' if life.died else 'left'}"
    if life.stood_still(before.at - _GRACE, offer.at):
        return f"{life} stood still"
    if before.faults:
        return f"{before.faults[0]} of {life}"
    return None


def _put_back(messages: list[TaskMessage]) -> list[str]:
    """Attempts that a worker gave to another one under the same number, when it left."""
    return [
        f"attempt {after.task.attempt} was put back"
        for before, after in pairwise(messages)
        if after.task.attempt == before.task.attempt and not after.task.cancel
    ]


def _froze(execution: Execution) -> bool:
    """Whether its worker stood still while it ran: then its deadlines may have passed."""
    return execution.how == "cancelled" and execution.life.stood_still(
        execution.began, execution.ended
    )


def _told(executions: list[Execution]) -> str:
    return ", ".join(
        f"attempt {e.attempt} by {e.life} from {e.began:.3f} to {e.ended:.3f} {e.how}"
        for e in executions
    )


__all__ = ["judge_activities"]
