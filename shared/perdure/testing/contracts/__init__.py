"""One contract suite per port: the docstrings of :mod:`perdure.ports` as code, for every adapter.

Each ``check_*`` takes a :class:`Stage` (how to connect to one store, and the outsiders' ways into
it) and raises :class:`ContractViolation`, naming the promise that was broken. ``CHECKS`` holds the
single checks as ``<suite>.<check>``, so that a test runner can show them one by one, best each on
a stage of its own.
"""

from perdure.testing.contracts.archive import ARCHIVE, check_archive
from perdure.testing.contracts.blob_store import BLOB_STORE, check_blob_store
from perdure.testing.contracts.clock import CLOCK, check_clock
from perdure.testing.contracts.event_log import EVENT_LOG, check_event_log
from perdure.testing.contracts.heartbeats import HEARTBEATS, check_heartbeats
from perdure.testing.contracts.inbox import INBOX, check_inbox
from perdure.testing.contracts.ingress import INGRESS, check_ingress
from perdure.testing.contracts.members import MEMBERS, check_members
from perdure.testing.contracts.messages import MESSAGES, check_messages
from perdure.testing.contracts.outlets import (
    ANNOUNCEMENTS,
    DEAD_LETTERS,
    REPLIES,
    check_announcements,
    check_dead_letters,
    check_replies,
)
from perdure.testing.contracts.state_store import STATE_STORE, check_state_store
from perdure.testing.contracts.support import Check, ContractViolation, Stage
from perdure.testing.contracts.task_queue import TASK_QUEUE, check_task_queue
from perdure.testing.contracts.timers import TIMERS, check_timers

SUITES: dict[str, dict[str, Check]] = {
    "event_log": EVENT_LOG,
    "inbox": INBOX,
    "task_queue": TASK_QUEUE,
    "heartbeats": HEARTBEATS,
    "timers": TIMERS,
    "state_store": STATE_STORE,
    "blob_store": BLOB_STORE,
    "archive": ARCHIVE,
    "dead_letters": DEAD_LETTERS,
    "announcements": ANNOUNCEMENTS,
    "replies": REPLIES,
    "ingress": INGRESS,
    "messages": MESSAGES,
    "members": MEMBERS,
    "clock": CLOCK,
}

CHECKS: dict[str, Check] = {
    f"{port}.{name}": check for port, checks in SUITES.items() for name, check in checks.items()
}

__all__ = [
    "CHECKS",
    "SUITES",
    "Check",
    "ContractViolation",
    "Stage",
    "check_announcements",
    "check_archive",
    "check_blob_store",
    "check_clock",
    "check_dead_letters",
    "check_event_log",
    "check_heartbeats",
    "check_inbox",
    "check_ingress",
    "check_members",
    "check_messages",
    "check_replies",
    "check_state_store",
    "check_task_queue",
    "check_timers",
]
