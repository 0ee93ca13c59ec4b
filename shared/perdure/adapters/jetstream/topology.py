"""Bringing a namespace's streams into being, and refusing those that cannot be trusted.

Idempotent and careful: what is missing is made; what we own (its metadata says so) and only lacks
something is amended; anything else (another owner, a change that would delete data, a topology
newer than this code) is refused before anything is touched.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, cast

from perdure.adapters.jetstream.connecting import NEEDED
from perdure.adapters.jetstream.errors import STREAM_NOT_FOUND, Missing, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.adapters.jetstream.streams import (
    PARTITIONS_KEY,
    TOPOLOGY_VERSION,
    VERSION_KEY,
    StreamSpec,
    TopologyOptions,
    declared,
)
from perdure.adapters.jetstream.subjects import Subjects
from perdure.core.errors import PerdureError

_LIMITS: Final = frozenset(
    {"max_msgs", "max_bytes", "max_age", "max_msgs_per_subject", "max_msg_size"}
)
# The server cannot take these back once they are on.
_ONE_WAY: Final = frozenset({"allow_msg_schedules", "allow_msg_ttl"})
_FIXED: Final = frozenset({"retention", "storage", "deny_delete", "deny_purge"})
# Never declared by us: with one of these a stream holds other messages than were published to it,
# or acknowledges what it has not written.
_FOREIGN: Final = ("mirror", "sources", "subject_transform", "sealed", "persist_mode")
_UNCOMPARED: Final = frozenset({"name", "description", "metadata"})

Remedy = Literal["create", "update", "refuse"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where the server departs from the declaration, and what ``ensure`` would do about it."""

    stream: str
    field: str
    found: Any
    wanted: Any
    remedy: Remedy
    reason: str = ""

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.stream}: {self.field} is {json.dumps(self.found)}, "
            f"wanted {json.dumps(self.wanted)}{why}"
        )


class TopologyError(PerdureError):
    """The streams are not as declared and may not be changed. The fields name the first reason;
    ``differences`` holds all."""

    code: ClassVar[str] = "topology"

    def __init__(self, message: str, differences: Iterable[Difference]) -> None:
        self.differences = tuple(differences)
        first = self.differences[0]
        self.stream = first.stream
        self.field = first.field
        self.found = first.found
        self.wanted = first.wanted
        listed = "\n".join(f"  {difference}" for difference in self.differences)
        super().__init__(f"{message}\n{listed}")


async def verify(
    link: Link, subjects: Subjects, options: TopologyOptions | None = None
) -> list[Difference]:
    """All differences between the server and the declaration; changes nothing."""
    chosen = options or TopologyOptions()
    differences: list[Difference] = []
    for spec in declared(subjects, chosen):
        found = await _found(link, spec.name)
        differences.extend(compare(spec, found))
    return differences


async def ensure(
    link: Link, subjects: Subjects, options: TopologyOptions | None = None
) -> list[Difference]:
    """Make the server fit the declaration; the differences that it removed."""
    chosen = options or TopologyOptions()
    differences = await verify(link, subjects, chosen)
    refused = [difference for difference in differences if difference.remedy == "refuse"]
    if refused:
        raise TopologyError(
            "The streams on the server cannot be used as they are, and perdure will not change "
            "them. Amend them by hand, or use another namespace:",
            refused,
        )
    if differences and not chosen.create:
        raise TopologyError(
            "The streams on the server are not complete, and creating them is switched off "
            "(create=False, --no-create). Apply what `perdure topology print` prints:",
            differences,
        )
    for spec in declared(subjects, chosen):
        mine = [difference for difference in differences if difference.stream == spec.name]
        if mine:
            await _apply(link, spec, mine)
    return differences


def manifest(subjects: Subjects, options: TopologyOptions | None = None) -> str:
    """The declaration as JSON, for operators who make the streams themselves: each entry of
    ``streams`` is a configuration that ``nats stream add --config`` takes."""
    specs = declared(subjects, options or TopologyOptions())
    document = {
        VERSION_KEY: TOPOLOGY_VERSION,
        "nats_server": f">={'.'.join(map(str, NEEDED))}",
        "streams": [dict(spec.config) for spec in specs],
    }
    return json.dumps(document, indent=2)


def compare(spec: StreamSpec, found: Mapping[str, Any] | None) -> list[Difference]:
    """What separates a stream's configuration from its declaration. Pure."""
    if found is None:
        return [
            Difference(
                stream=spec.name, field="stream", found=None, wanted=spec.name, remedy="create"
            )
        ]
    version = cast("Mapping[str, str]", found.get("metadata") or {}).get(VERSION_KEY)
    if version is not None and not (version.isdigit() and int(version) <= TOPOLOGY_VERSION):
        return [
            Difference(
                stream=spec.name,
                field=VERSION_KEY,
                found=version,
                wanted=str(TOPOLOGY_VERSION),
                remedy="refuse",
                reason="a newer perdure made it: upgrade this one",
            )
        ]
    differences = [
        Difference(
            stream=spec.name,
            field=name,
            found=found[name],
            wanted=None,
            remedy="refuse",
            reason="perdure's streams hold what was published to them, durably, and nothing else",
        )
        for name in _FOREIGN
        if found.get(name) not in (None, False, "", "default", [])
    ]
    for name, wanted in spec.config.items():
        if name not in _UNCOMPARED and name not in spec.free:
            differences.extend(_compare_field(spec.name, name, found.get(name), wanted))
    differences.extend(_compare_partitions(spec, found))
    if version is None:
        return [_not_ours(difference) for difference in differences]
    return differences


def _compare_partitions(spec: StreamSpec, found: Mapping[str, Any]) -> list[Difference]:
    wanted = cast("Mapping[str, str]", spec.config["metadata"]).get(PARTITIONS_KEY)
    current = cast("Mapping[str, str]", found.get("metadata") or {}).get(PARTITIONS_KEY)
    if wanted is None or PARTITIONS_KEY in spec.free or current in (None, wanted):
        return []
    return [
        Difference(
            stream=spec.name,
            field=PARTITIONS_KEY,
            found=current,
            wanted=wanted,
            remedy="refuse",
            reason="the consumers of this namespace are cut for it: leave partitions unset",
        )
    ]


def _not_ours(difference: Difference) -> Difference:
    return Difference(
        stream=difference.stream,
        field=difference.field,
        found=difference.found,
        wanted=difference.wanted,
        remedy="refuse",
        reason=difference.reason or f"its metadata has no {VERSION_KEY}: it isn't perdure's",
    )


def _compare_field(stream: str, name: str, found: Any, wanted: Any) -> list[Difference]:
    if name in _LIMITS:
        found, wanted = _limit(found), _limit(wanted)
        equal = found == wanted
    elif name == "subjects":
        equal = set(cast("list[str]", found or [])) == set(cast("list[str]", wanted))
    elif isinstance(wanted, bool):
        found = bool(found)
        equal = found == wanted
    else:
        equal = found == wanted
    if equal:
        return []
    reason = _why_not(name, found, wanted)
    return [
        Difference(
            stream=stream,
            field=name,
            found=found,
            wanted=wanted,
            remedy="refuse" if reason else "update",
            reason=reason,
        )
    ]


def _why_not(name: str, found: Any, wanted: Any) -> str:
    """Why a field may not be changed from ``found`` to ``wanted``; empty when it may."""
    if name in _FIXED:
        return "it cannot be changed on an existing stream"
    if name in _ONE_WAY and not wanted:
        return "it cannot be switched off again"
    if name in _LIMITS and (found is None or (wanted is not None and found > wanted)):
        return "lowering it would delete messages"
    if name == "num_replicas" and wanted < found:
        return "lowering it would give up copies"
    if name == "subjects" and set(cast("list[str]", found or [])) - set(cast("list[str]", wanted)):
        return "it takes subjects that are not perdure's"
    return ""


def _limit(value: Any) -> int | None:
    """A limit, None when there is none (the server says 0 or -1)."""
    number = int(value or 0)
    return number if number > 0 else None


async def _found(link: Link, stream: str) -> dict[str, Any] | None:
    try:
        info = await link.api(f"STREAM.INFO.{stream}")
    except Missing as error:
        if err_code_of(error) != STREAM_NOT_FOUND:
            raise
        return None
    return cast("dict[str, Any]", info["config"])


async def _apply(link: Link, spec: StreamSpec, differences: list[Difference]) -> None:
    if any(difference.remedy == "create" for difference in differences):
        # Two that create at once send the same bytes, which the server takes as one.
        await link.api(f"STREAM.CREATE.{spec.name}", dict(spec.config))
        return
    found = await _found(link, spec.name)
    if found is None:
        raise TopologyError("A stream was deleted while it was being amended:", differences)
    amended = {**found, **{d.field: spec.config[d.field] for d in differences}}
    amended["metadata"] = {**spec.config["metadata"], **(found.get("metadata") or {})}
    amended["metadata"][VERSION_KEY] = str(TOPOLOGY_VERSION)
    await link.api(f"STREAM.UPDATE.{spec.name}", amended)
