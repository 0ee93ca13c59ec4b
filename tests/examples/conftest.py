"""What every test of an example shares: the outside world is a file of its own."""

from pathlib import Path

import pytest
from side_effects import effects


class Outside:
    """What was done in the outside world."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def done(self) -> list[tuple[str, str]]:
        return [(effect.what, effect.subject) for effect in effects(self.path)]

    @property
    def names(self) -> list[str]:
        return [effect.what for effect in effects(self.path)]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outside:
    path = tmp_path / "effects.log"
    monkeypatch.setenv("PERDURE_EXAMPLE_LOG", str(path))
    monkeypatch.delenv("PERDURE_EXAMPLE_PACE", raising=False)
    return Outside(path)
