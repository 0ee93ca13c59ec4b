"""Durable pull consumers: made when missing, never changed but for a moment, never expiring."""

import asyncio
from collections.abc import Sequence
from typing import Any

from perdure.adapters.jetstream.errors import CONSUMER_EXISTS, Missing, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.ports.errors import AlreadyExists

_ENDING = 5_000_000
_ENDED = 0.3
"""Seconds in which the server has seen that leases so short are over: it looks every tenth."""


def consumer_config(name: str, filters: Sequence[str], lease: int) -> dict[str, Any]:
    """What every consumer of perdure looks like. The pull credit is the flow control, so no limit
    of unacknowledged messages: those that wait or hang would stop the whole queue."""
    config: dict[str, Any] = {
        "name": name,
        "durable_name": name,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "ack_wait": lease,
        "max_ack_pending": -1,
        "max_deliver": -1,
    }
    if len(filters) == 1:
        config["filter_subject"] = filters[0]
    else:
        config["filter_subjects"] = list(filters)
    return config


async def ensure_consumer(
    link: Link, stream: str, config: dict[str, Any], *, create: bool
) -> dict[str, Any]:
    """The consumer's info; it is created when missing and ``create``. Raises Missing."""
    name = config["name"]
    try:
        info = await link.api(f"CONSUMER.INFO.{stream}.{name}")
        if create and info["config"]["ack_wait"] == _ENDING:
            # Whoever ended the leases died before it could set them right again.
            return await _with_lease(link, stream, config, config["ack_wait"])
        return info
    except Missing as error:
        if not create:
            raise Missing(
                f"consumer {name} of {stream} is missing and this process may not create it: "
                "create the namespace's topology first"
            ) from error
    try:
        return await create_consumer(link, stream, config)
    except AlreadyExists as error:
        if err_code_of(error) != CONSUMER_EXISTS:
            raise
        # Somebody made it just now, with a lease of their own: theirs is as good.
        return await link.api(f"CONSUMER.INFO.{stream}.{name}")


async def end_leases(link: Link, stream: str, config: dict[str, Any]) -> None:
    """Have the server offer again all that is unsettled, as if every lease were over: for who knows
    that the holder is dead. (No word of the API says so; a lease too short for anybody does.)"""
    info = await ensure_consumer(link, stream, config, create=True)
    if not info["num_ack_pending"]:
        return
    await _with_lease(link, stream, config, _ENDING)
    await asyncio.sleep(_ENDED)
    await _with_lease(link, stream, config, info["config"]["ack_wait"])


async def _with_lease(
    link: Link, stream: str, config: dict[str, Any], lease: int
) -> dict[str, Any]:
    body = {"stream_name": stream, "config": {**config, "ack_wait": lease}, "action": "update"}
    return await link.api(_creation(stream, config), body)


async def create_consumer(link: Link, stream: str, config: dict[str, Any]) -> dict[str, Any]:
    """Create; without effect for an equal one. Raises AlreadyExists for a different one."""
    body = {"stream_name": stream, "config": config, "action": "create"}
    return await link.api(_creation(stream, config), body)


def _creation(stream: str, config: dict[str, Any]) -> str:
    name = f"CONSUMER.CREATE.{stream}.{config['name']}"
    only = config.get("filter_subject")
    return f"{name}.{only}" if only else name
