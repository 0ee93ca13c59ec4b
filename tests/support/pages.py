"""The documentation as tests read it: pages, their code blocks, the messages that they publish."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str
    language: str
    text: str

    @property
    def file_name(self) -> str:
        """What the first line, a comment, calls the file; else empty."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found else ""


def pages() -> list[Path]:
    found = [ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(found)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: str, language: str = "") -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [Block(page, kind, body) for kind, body in _BLOCK.findall(text)]
    return [block for block in found if not language or block.language == language]


def links(page: Path) -> Iterator[str]:
    """The links of a page that point into the repository."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            yield target


def commands(text: str, program: str) -> list[list[str]]:
    """The command lines of ``program`` in a text, parted into words, without comments."""
    lines = re.findall(rf"^ *({program} .*?)(?: &)?$", text, re.M)
    return [shlex.split(line, comments=True) for line in lines]


def texts_with_commands() -> Iterator[tuple[str, str]]:
    """Every text that tells people what to type: shell blocks, and the examples' docstrings."""
    for page in pages():
        for block in blocks(name_of(page), "sh"):
            yield block.page, block.text
    for path in sorted((ROOT / "examples").rglob("*.py")):
        yield name_of(path), path.read_text(encoding="utf-8").split('"""')[1]
