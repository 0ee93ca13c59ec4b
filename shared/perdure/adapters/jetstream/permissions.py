"""Who may write what: nats-server permissions per role, from the names that all others use. Pure.

What permissions can do: an outsider cannot publish to the log, a worker cannot write history, a
gateway cannot write results. What they cannot do:

* see reply subjects. Whoever publishes may name any subject as the one to acknowledge to, and the
  server writes its acknowledgement there: an outsider could drop one into a workflow's history.
  Outsiders who are not trusted belong into an account of their own (:func:`render_accounts`), where
  a reply subject is theirs alone.
* see headers. Whoever may append to LOG at all (client, worker, gateway) could, with intent, have
  the server's own features (roll-ups, schedules) act on other subjects of LOG. Between these roles
  permissions part mistakes, not enemies.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from perdure.adapters.jetstream.serverconfig import render
from perdure.adapters.jetstream.subjects import Subjects

_PLAIN_INBOX: Final = "_INBOX.>"
_REQUESTS: Final = ("start", "signal", "cancel", "api")
_ACROSS_ACCOUNTS: Final = "_R_.>"
"""Where the server has answers to another account's questions sent."""


class Role(StrEnum):
    """OUTSIDER: anyone, the durable subjects and the API. CLIENT: the Python client. The others are
    the processes of their names; ADMIN makes streams and repairs."""

    OUTSIDER = "outsider"
    CLIENT = "client"
    SCHEDULER = "scheduler"
    WORKER = "worker"
    GATEWAY = "gateway"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class RoleUser:
    """A user of the server's configuration: with a password (bcrypt or plain) or a public NKEY."""

    role: Role
    name: str = ""
    password: str = ""
    nkey: str = ""

    def __post_init__(self) -> None:
        if bool(self.nkey) == bool(self.name and self.password):
            raise ValueError("a user needs either a name and a password, or a public nkey")


@dataclass(frozen=True)
class Permissions:
    """Allow lists; what is on neither is denied."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox_prefix(role: Role) -> str:
    """What a connection of the role passes as its inbox prefix: no role reads another's answers."""
    return f"_INBOX_{role.value}"


def permissions(subjects: Subjects, role: Role) -> Permissions:
    grants = _Grants(subjects)
    grants.hear(f"{inbox_prefix(role)}.>")
    _GRANTS[role](grants)
    return Permissions(tuple(sorted(grants.publish)), tuple(sorted(grants.subscribe)))


def authorization(subjects: Subjects, users: Iterable[RoleUser]) -> dict[str, Any]:
    """The value of ``authorization`` in a server's configuration."""
    return {"users": [_user(subjects, user) for user in users]}


def render_config(namespace: str, users: Iterable[RoleUser], *, prefix: str = "perdure") -> str:
    """An ``authorization`` block for nats-server.conf.

    Streams are named after the same prefix in upper case, as :class:`Subjects` does by default.
    """
    subjects = Subjects(namespace, prefix)
    return render({"authorization": authorization(subjects, users)})


def accounts(
    subjects: Subjects, users: Iterable[RoleUser], *, name: str, outsiders: str
) -> dict[str, Any]:
    """The value of ``accounts``: the engine's, and one for outsiders, who see of the engine the
    request subjects, the events and the answers to their inboxes."""
    known = list(users)
    services = [f"{subjects.base}{kind}.>" for kind in _REQUESTS]
    streams = [f"{subjects.base}events.>", _PLAIN_INBOX]
    return {
        name: {
            "jetstream": "enabled",
            "users": [_user(subjects, user) for user in known if user.role is not Role.OUTSIDER],
            "exports": [
                *({"service": subject, "accounts": [outsiders]} for subject in services),
                *({"stream": subject, "accounts": [outsiders]} for subject in streams),
            ],
        },
        outsiders: {
            "users": [_user(subjects, user) for user in known if user.role is Role.OUTSIDER],
            "imports": [
                *({"service": {"account": name, "subject": subject}} for subject in services),
                *({"stream": {"account": name, "subject": subject}} for subject in streams),
            ],
        },
    }


def render_accounts(
    namespace: str,
    users: Iterable[RoleUser],
    *,
    prefix: str = "perdure",
    name: str = "PERDURE",
    outsiders: str = "OUTSIDERS",
) -> str:
    """An ``accounts`` block for nats-server.conf: like :func:`render_config`, and outsiders can't
    reach anything by naming it as a reply subject."""
    block = accounts(Subjects(namespace, prefix), users, name=name, outsiders=outsiders)
    return render({"accounts": block})


def _user(subjects: Subjects, user: RoleUser) -> dict[str, Any]:
    allowed = permissions(subjects, user.role)
    identity = {"nkey": user.nkey} if user.nkey else {"user": user.name, "password": user.password}
    return {
        **identity,
        "permissions": {
            "publish": {"allow": list(allowed.publish)},
            "subscribe": {"allow": list(allowed.subscribe)},
        },
    }


@dataclass
class _Grants:
    """Collects what a role may do, by what it does."""

    subjects: Subjects
    publish: set[str] = field(default_factory=set[str])
    subscribe: set[str] = field(default_factory=set[str])

    def say(self, *patterns: str) -> None:
        self.publish.update(patterns)

    def hear(self, *patterns: str) -> None:
        self.subscribe.update(patterns)

    def api(self, *patterns: str) -> None:
        self.say(*(f"$JS.API.{pattern}" for pattern in patterns))

    def own(self, *tails: str) -> None:
        self.say(*(f"{self.subjects.base}{tail}" for tail in tails))

    def requests(self) -> None:
        self.own(*(f"{kind}.>" for kind in _REQUESTS))

    def look(self) -> None:
        """See whether the streams are there and as declared."""
        names = self.subjects
        self.api("INFO")
        for stream in _streams(names):
            self.api(f"STREAM.INFO.{stream}")

    def read(self, *streams: str) -> None:
        for stream in streams:
            self.api(f"STREAM.MSG.GET.{stream}", f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>")

    def consume(self, stream: str) -> None:
        for verb in ("CREATE", "INFO", "MSG.NEXT", "DELETE"):
            self.api(f"CONSUMER.{verb}.{stream}.>")
        self.api(f"CONSUMER.NAMES.{stream}")
        # The second form is what servers with the feature flag js_ack_fc_v2 use.
        self.say(f"$JS.ACK.{stream}.>", f"$JS.ACK.*.*.{stream}.>")

    def purge(self, *streams: str) -> None:
        for stream in streams:
            self.api(f"STREAM.PURGE.{stream}")

    def talk(self) -> None:
        """Questions and hints between processes, and the answers to those who asked."""
        self.own("_msg.>")
        self.hear(f"{self.subjects.base}_msg.>")
        self.say(*(f"{inbox_prefix(role)}.>" for role in Role))

    def be_member(self) -> None:
        self.say(f"$KV.{self.subjects.members_bucket}.>")
        self.read(self.subjects.members_stream)

    def keep_state(self) -> None:
        self.say(f"$KV.{self.subjects.state_bucket}.>")
        self.read(self.subjects.state_stream)
        self.hear(f"{self.subjects.base}_state.>")

    def keep_blobs(self) -> None:
        self.say(f"$O.{self.subjects.blobs_store}.C.>")
        self.read(self.subjects.blobs_stream)


def _streams(names: Subjects) -> tuple[str, ...]:
    return (
        names.log_stream,
        names.tasks_stream,
        names.ingress_stream,
        names.state_stream,
        names.members_stream,
        names.archive_stream,
        names.blobs_stream,
        names.events_stream,
        names.dead_letters_stream,
        names.audit_stream,
    )


def _outsider(grants: _Grants) -> None:
    grants.requests()
    grants.hear(_PLAIN_INBOX, f"{grants.subjects.base}events.>")


def _client(grants: _Grants) -> None:
    names = grants.subjects
    grants.requests()
    grants.look()
    grants.own("_wf.*.*.*.in.ext", "_msg.>")
    grants.keep_state()
    grants.keep_blobs()
    grants.read(names.log_stream, names.archive_stream, names.members_stream)
    grants.hear(f"{names.base}events.>")


def _worker(grants: _Grants) -> None:
    names = grants.subjects
    grants.look()
    grants.own("_wf.*.*.*.in.eng", "_task.>", "_beat.>", "_dlq.>")
    grants.consume(names.tasks_stream)
    grants.keep_blobs()
    grants.read(names.log_stream, names.tasks_stream, names.state_stream)
    grants.be_member()
    grants.talk()


def _scheduler(grants: _Grants) -> None:
    names = grants.subjects
    grants.look()
    grants.own("_wf.>", "_timer.>", "_task.>", "_beat.>", "_cron.>", "_archive.>", "_dlq.>")
    grants.own("events.>")
    grants.consume(names.log_stream)
    grants.purge(names.log_stream, names.blobs_stream)
    grants.api(f"STREAM.MSG.DELETE.{names.tasks_stream}")
    grants.keep_state()
    grants.keep_blobs()
    grants.read(names.log_stream, names.tasks_stream, names.archive_stream)
    grants.be_member()
    grants.talk()
    grants.say(_PLAIN_INBOX)


def _gateway(grants: _Grants) -> None:
    names = grants.subjects
    grants.requests()
    grants.look()
    grants.own("_wf.*.*.*.in.ext", "_dlq.>", "_audit.>", "events.>")
    grants.consume(names.ingress_stream)
    grants.keep_state()
    grants.keep_blobs()
    grants.read(names.log_stream, names.archive_stream, names.dead_letters_stream)
    grants.api(f"STREAM.MSG.DELETE.{names.dead_letters_stream}")
    grants.be_member()
    grants.talk()
    grants.say(_PLAIN_INBOX, _ACROSS_ACCOUNTS)
    grants.hear(f"{names.base}api.>", f"{names.base}events.>", "$SRV.>")


def _admin(grants: _Grants) -> None:
    names = grants.subjects
    buckets = (names.state_bucket, names.members_bucket)
    grants.own(">")
    grants.say(*(f"$KV.{bucket}.>" for bucket in buckets), f"$O.{names.blobs_store}.>")
    grants.say("$JS.API.>", "$JS.ACK.>", "$SRV.>", _PLAIN_INBOX)
    grants.say(*(f"{inbox_prefix(role)}.>" for role in Role))
    grants.hear(f"{names.base}>", "$SRV.>", "$JS.EVENT.>", _PLAIN_INBOX)


_GRANTS: Final = {
    Role.OUTSIDER: _outsider,
    Role.CLIENT: _client,
    Role.SCHEDULER: _scheduler,
    Role.WORKER: _worker,
    Role.GATEWAY: _gateway,
    Role.ADMIN: _admin,
}
