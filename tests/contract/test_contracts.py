"""Every promise of every port, on every adapter."""

import pytest
from contract.backends import BACKENDS, WITH_SERVER

from perdure.testing.contracts import CHECKS


def _adapters() -> list[object]:
    return [
        pytest.param(name, marks=pytest.mark.integration if name in WITH_SERVER else ())
        for name in BACKENDS
    ]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("backend", _adapters())
def test_contract(backend: str, check: str, request: pytest.FixtureRequest) -> None:
    BACKENDS[backend](CHECKS[check], lambda: str(request.getfixturevalue("server_url")))
