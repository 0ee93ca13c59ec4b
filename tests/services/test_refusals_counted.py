"""What JetStream refuses shows in the metrics, by its number."""

from perdure_services._shell.metrics import count_refusal, exposition


def test_refusals_are_counted_by_number() -> None:
    count_refusal(10164)
    count_refusal(10164)
    count_refusal(503)
    text = exposition().decode()
    assert 'perdure_nats_refusals_total{code="10164"} 2.0' in text
    assert 'perdure_nats_refusals_total{code="503"} 1.0' in text
