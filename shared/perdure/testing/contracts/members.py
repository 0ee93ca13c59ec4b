"""The contract of :class:`perdure.ports.members.Members`."""

from perdure.core.durations import MINUTE, SECOND
from perdure.testing.contracts.support import (
    Stage,
    eventually,
    expect_equal,
    fresh,
    run_all,
    suite,
)


async def beats_make_members(stage: Stage) -> None:
    one, other = await stage.connect(), await stage.connect()
    group = (fresh("scheduler"), fresh("any queue: ü"))
    expect_equal(await one.members.list(group), {}, "a group without beats is empty")
    await one.members.beat(group, "a", b"1", ttl=MINUTE)
    await other.members.beat(group, "any member: ü", b"2", ttl=MINUTE)
    await one.members.beat(group, "a", b"3", ttl=MINUTE)
    expect_equal(
        await other.members.list(group),
        {"a": b"3", "any member: ü": b"2"},
        "the members alive, with what they said last",
    )
    await one.members.leave(group, "a")
    await one.members.leave(group, "a")
    expect_equal(await one.members.list(group), {"any member: ü": b"2"}, "who leaves is gone")


async def silence_ends_membership(stage: Stage) -> None:
    backend = await stage.connect()
    group = (fresh("scheduler"), "default")
    await backend.members.beat(group, "brief", b"", ttl=2 * SECOND)
    await backend.members.beat(group, "long", b"", ttl=10 * MINUTE)
    expect_equal(set(await backend.members.list(group)), {"brief", "long"}, "both live")

    async def only_long_lives() -> bool:
        return set(await backend.members.list(group)) == {"long"}

    await eventually(only_long_lives, "a member whose beats stop for its ttl is gone")
    await backend.members.beat(group, "brief", b"back", ttl=MINUTE)
    found = await backend.members.list(group)
    expect_equal(found.get("brief"), b"back", "a member that beats again is back")


async def beats_renew_membership(stage: Stage) -> None:
    backend = await stage.connect()
    group = (fresh("scheduler"), "default")
    await backend.members.beat(group, "renewed", b"1", ttl=2 * SECOND)
    await backend.members.beat(group, "renewed", b"2", ttl=10 * MINUTE)
    await backend.members.beat(group, "witness", b"", ttl=3 * SECOND)

    async def witness_is_gone() -> bool:
        return "witness" not in await backend.members.list(group)

    await eventually(witness_is_gone, "a member whose beats stop for its ttl is gone")
    expect_equal(
        await backend.members.list(group), {"renewed": b"2"}, "the newest beat's ttl counts"
    )


async def one_token_lists_all_groups(stage: Stage) -> None:
    backend = await stage.connect()
    role = fresh("scheduler")
    await backend.members.beat((role, "default"), "a", b"1", ttl=MINUTE)
    await backend.members.beat((role, "gpu"), "a", b"2", ttl=MINUTE)
    await backend.members.beat((fresh("worker"), "default"), "c", b"3", ttl=MINUTE)
    expect_equal(
        await backend.members.list((role,)),
        {"default/a": b"1", "gpu/a": b"2"},
        "a group of one token lists all groups that begin with it",
    )
    expect_equal(await backend.members.list((role, "gpu")), {"a": b"2"}, "groups are apart")


MEMBERS = suite(
    beats_make_members,
    silence_ends_membership,
    beats_renew_membership,
    one_token_lists_all_groups,
)


async def check_members(stage: Stage) -> None:
    """Every promise of the port, one after another."""
    await run_all(MEMBERS, stage)
