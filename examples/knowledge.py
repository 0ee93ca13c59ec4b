"""A small knowledge base for the research example: a few passages and a search by shared words."""

import re

PASSAGES = (
    "Tides follow the moon: it pulls the sea on the near side of the earth more than on the far.",
    "Spring tides come when sun, moon and earth stand in one line; neap tides a week later.",
    "The Bay of Fundy has the highest tides, sixteen metres from low to high water.",
    "A tide mill closes its gate at high water and lets the ebb turn the wheel.",
    "Tide tables are computed from some forty periodic terms, each found by years of measuring.",
    "Lighthouses were built of oak before they were built of granite.",
    "A lighthouse keeper trimmed the wick every four hours of the night.",
    "Bees find their way back by the sun, and tell others by a dance.",
)
_WORD = re.compile(r"[a-z]{3,}")


def search(query: str, *, limit: int = 3) -> list[str]:
    """The passages that share the most words with ``query``, at least one, the best first."""
    wanted = _stems(query)
    scored = [(len(wanted & _stems(passage)), passage) for passage in PASSAGES]
    hits = sorted((hit for hit in scored if hit[0]), key=lambda hit: -hit[0])
    return [passage for _, passage in hits[:limit]]


def _stems(text: str) -> set[str]:
    return {word.rstrip("s") for word in _WORD.findall(text.lower())}
