"""What the store holds of workflows that never ended: for whoever has to find out why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from support.load import Life

from perdure.adapters.jetstream.link import Link, RawMessage
from perdure.adapters.jetstream.paging import each
from perdure.adapters.jetstream.reads import leader_get
from perdure.adapters.jetstream.subjects import Subjects
from perdure.ports.addresses import Address, Lane

_MOST = 6
_SHOWN = 300


async def trace(link: Link, lives: Sequence[Life]) -> str:
    """STATE, the log, the task and the timers of the first few, and where the consumers are."""
    subjects = Subjects("default")
    lines: list[str] = []
    for one in islice(lives, _MOST):
        lines.append(f"{one}")
        state = {"last_by_subj": subjects.state_key(one.workflow_id)}
        lines.append(f"  STATE {_shown(await leader_get(link, subjects.state_stream, state))}")
        address = Address("default", one.workflow_id)
        places = [(subjects.log_stream, subjects.lane(address, lane)) for lane in Lane]
        places += [
            (subjects.tasks_stream, f"{subjects.base}_task.*.{one.workflow_id}.*.*"),
            (subjects.log_stream, f"{subjects.base}_timer.{one.workflow_id}.*.*"),
        ]
        for stream, where in places:
            lines += [f"  {raw.subject} {_shown(raw)}" async for raw in each(link, stream, where)]
    for stream in (subjects.log_stream, subjects.tasks_stream, subjects.ingress_stream):
        answer = await link.api(f"CONSUMER.LIST.{stream}", {})
        for info in answer.get("consumers") or []:
            kept = ("name", "delivered", "ack_floor", "num_ack_pending", "num_pending")
            told = {name: info[name] for name in (*kept, "num_redelivered", "num_waiting")}
            lines.append(f"{stream}: {told}")
    return "\n".join(lines)


def _shown(raw: RawMessage | None) -> str:
    if raw is None:
        return "nothing"
    return f"{raw.seq} at {raw.timestamp / 1e9:.3f} {raw.data[:_SHOWN]!r}"
