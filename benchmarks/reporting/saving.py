"""Results as files, and two runs held against each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lines.model import Report, Result

from reporting.cells import NOTHING, label, number

RESULTS: Final = Path(__file__).resolve().parents[1] / "results"


def save(report: Report, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    return path


def load(folder: Path, name: str) -> Report:
    """Raises FileNotFoundError naming what there is."""
    path = folder / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.json"))) or "none"
        raise FileNotFoundError(f"no saved run {name!r} in {folder}; there is: {known}")
    return Report.from_json(json.loads(path.read_bytes()))


@dataclass(frozen=True)
class Change:
    """One figure of two runs."""

    old: Result
    new: Result

    @property
    def cells(self) -> tuple[str, ...]:
        spent_old, spent_new = sum(self.old.cpu.values()), sum(self.new.cpu.values())
        return (
            label(self.new),
            number(self.old.value),
            number(self.new.value),
            _change(self.old.value, self.new.value),
            number(spent_old or None),
            number(spent_new or None),
            _change(spent_old, spent_new),
        )


def changes(old: Report, new: Report) -> list[Change]:
    """The figures that both have."""
    known = {result.name: result for result in old.results}
    return [Change(known[one.name], one) for one in new.results if one.name in known]


def _change(old: float, new: float) -> str:
    return f"{(new - old) / old:+.1%}" if old and new else NOTHING
