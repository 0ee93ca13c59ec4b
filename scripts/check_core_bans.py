"""Hold the two exempt modules of the core to every ban but their own.

Ruff can only exempt a file from all of banned-api. core/loop.py may use asyncio and
core/randomness.py may use random; this runs ruff on each with the rest of the list.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "shared" / "perdure" / "core"
EXEMPT = {"loop.py": "asyncio", "randomness.py": "random"}


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    banned: dict[str, dict[str, str]] = project["tool"]["ruff"]["lint"]["flake8-tidy-imports"][
        "banned-api"
    ]
    worst = 0
    for name, allowed in EXEMPT.items():
        module = CORE / name
        if not module.exists():
            continue
        rest = ", ".join(
            f'"{api}" = {{ msg = "{rule["msg"]}" }}'
            for api, rule in banned.items()
            if api != allowed
        )
        run = subprocess.run(
            [
                *(sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--quiet"),
                *("--select", "TID251"),
                *("--config", f"lint.flake8-tidy-imports.banned-api = {{ {rest} }}"),
                str(module.relative_to(ROOT)),
            ],
            cwd=ROOT,
            check=False,
        )
        worst = max(worst, run.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
