"""Every promise of every port, on every adapter."""

import pytest
from contract.backends import BACKENDS

from perdure.testing.contracts import CHECKS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_contract(backend: str, check: str) -> None:
    BACKENDS[backend](CHECKS[check])
