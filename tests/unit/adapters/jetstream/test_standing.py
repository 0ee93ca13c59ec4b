"""When to leave a server that answers and does nothing."""

from perdure.adapters.jetstream.standing import Standing


def test_one_bad_interval_is_an_election() -> None:
    standing = Standing()
    assert not standing.is_lost(10, 0)
    assert not standing.is_lost(10, 3)
    assert not standing.is_lost(12, 6)
    assert not standing.is_lost(12, 9)


def test_who_says_nothing_learns_nothing() -> None:
    standing = Standing()
    assert not any(standing.is_lost(10, 3) for _ in range(20))


def test_writes_without_a_receipt_tell_more_and_more_rarely() -> None:
    standing = Standing()
    left = [at for at in range(1, 64) if standing.is_lost(0, at)]
    assert left == [2, 6, 14, 30, 46, 62]


def test_a_receipt_makes_up_for_it() -> None:
    standing = Standing()
    assert [standing.is_lost(0, at) for at in (1, 2)] == [False, True]
    assert not standing.is_lost(1, 3)
    assert [standing.is_lost(1, at) for at in (4, 5)] == [False, True]
