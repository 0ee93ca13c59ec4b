"""Programs in the specified class style read and run as written."""

import pytest
from support.recording_host import RecordingHost
from unit.authoring import seed_workflows as seeds

from perdure.authoring.app import App
from perdure.authoring.definitions import definition_of
from perdure.core.durations import DAY, SECOND


def test_all_definitions_are_found_by_name() -> None:
    app = App.from_modules([seeds.__name__])
    assert app.workflow_names == ("ExpenseApproval", "Onboarding", "OrderSaga", "Parallel")
    assert app.activity("ask_model").signature.required == 1
    assert app.activity("ask_model").signature.types == (str, str)
    assert not app.activity("notify").is_async
    assert set(definition_of(seeds.ExpenseApproval).signals) == {"approve", "reject"}


def test_onboarding(host: RecordingHost) -> None:
    result = host.run(seeds.Onboarding().run("ada"))
    assert result == "Onboarding complete for ada"
    first, second = host.requests
    assert host.args[0] == ("user@example.com", "Welcome!", "...")
    assert (first.name, first.start_to_close) == ("send_mail", 30 * SECOND)
    assert (first.retry.maximum_attempts, second.retry.maximum_attempts) == (3, 0)
    assert first.result_type is str
    assert host.sleeps == [(3 * DAY, "")]


def test_saga_compensates_in_reverse_order(host: RecordingHost) -> None:
    host.results = {"reserve": "r1", "charge": "p1", "ship": RuntimeError("no lorry")}
    with pytest.raises(Exception, match="Order o1 failed and was compensated"):
        host.run(seeds.OrderSaga().run("o1"))
    assert [
        (request.name, args) for request, args in zip(host.requests, host.args, strict=True)
    ] == [
        ("reserve", ("o1",)),
        ("charge", ("o1",)),
        ("ship", ("o1",)),
        ("refund", ("p1",)),
        ("release", ("r1",)),
    ]


@pytest.mark.parametrize(
    ("decide", "outcome"), [("approve", "approved"), ("reject", "rejected"), (None, "timeout")]
)
def test_approval(host: RecordingHost, decide: str | None, outcome: str) -> None:
    approval = seeds.ExpenseApproval()
    if decide:
        getattr(approval, decide)()
    assert host.run(approval.run("e1", 12.5)) == outcome
    assert host.waits == [(7 * DAY, "")]
    assert approval.get_status()["pending"] is (decide is None)


def test_parallel_results_keep_their_order(host: RecordingHost) -> None:
    host.results = {"process_item": str.upper}
    assert host.run(seeds.Parallel().run(["a", "b", "c"])) == ["A", "B", "C"]
