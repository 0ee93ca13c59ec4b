"""Durable pull consumers: made when missing, never changed, never expiring."""

from collections.abc import Sequence
from typing import Any

from perdure.adapters.jetstream.errors import CONSUMER_EXISTS, Missing, err_code_of
from perdure.adapters.jetstream.link import Link
from perdure.ports.errors import AlreadyExists


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
        return await link.api(f"CONSUMER.INFO.{stream}.{name}")
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


async def create_consumer(link: Link, stream: str, config: dict[str, Any]) -> dict[str, Any]:
    """Create; without effect for an equal one. Raises AlreadyExists for a different one."""
    body = {"stream_name": stream, "config": config, "action": "create"}
    name = f"CONSUMER.CREATE.{stream}.{config['name']}"
    only = config.get("filter_subject")
    return await link.api(f"{name}.{only}" if only else name, body)
