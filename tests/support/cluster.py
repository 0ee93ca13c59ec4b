"""Three nats-servers as one JetStream cluster, and the operator who asks and moves its leaders."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import nats
from nats.aio.client import Client as Outsider
from nats.errors import Error as NatsError
from support.cluster_network import Cable, Network, namespaces
from support.deployments import LEASH
from support.nats_server import RunningServer, free_port
from support.polling import until_found

SIZE = 3
_USER = "operator"
_ANSWER = 3.0
_SETTLED = 180.0
"""Elections, and what a node missed while it was away, take long on a busy machine."""


class Node(RunningServer):
    """One server of a cluster; ``cable`` is there when it stands on a network of its own."""

    def __init__(self, folder: Path, name: str, *, host: str, cable: Cable | None) -> None:
        on_leash = [sys.executable, "-ISs", str(LEASH)]
        within = [*on_leash, *(cable.within if cable is not None else ())]
        accounts = {
            "SYS": {"users": [{"user": _USER, "password": _USER}]},
            "APP": {"jetstream": "enabled", "users": [{"user": "app", "password": "app"}]},
        }
        config: dict[str, Any] = {
            "server_name": name,
            "accounts": accounts,
            "system_account": "SYS",
            "no_auth_user": "app",
        }
        super().__init__(folder / name, config, host=host, within=within)
        self.cable = cable


class Cluster:
    """The nodes, of which some may be away."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def rounds(self, first: int = 0) -> Iterator[Node]:
        """Every node in turn, for ever."""
        at = first
        while True:
            yield self.nodes[at % len(self.nodes)]
            at += 1

    def named(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def link_routes(self) -> None:
        """Tell each node where the others listen for it."""
        hosts = [node.cable.inside if node.cable is not None else node.host for node in self.nodes]
        ports = [free_port() for _ in self.nodes]
        routes = [f"nats://{host}:{port}" for host, port in zip(hosts, ports, strict=True)]
        for node, host, port in zip(self.nodes, hosts, ports, strict=True):
            node.config["cluster"] = {
                "name": "test",
                "listen": f"{host}:{port}",
                "routes": routes,
            }

    def end(self) -> None:
        for node in self.nodes:
            node.kill()

    def last_words(self) -> str:
        return "\n".join(
            f"--- {node.name}\n{node.log_path.read_text(errors='replace')[-3_000:]}"
            for node in self.nodes
            if node.log_path.exists()
        )


class Operator:
    """Speaks to the cluster's API as people do with the ``nats`` command: an answer may be missing,
    then it asks again or goes on."""

    def __init__(self, app: Outsider, system: Outsider) -> None:
        self._app = app
        self._system = system

    @classmethod
    async def of(cls, cluster: Cluster) -> Self:
        options: dict[str, Any] = {
            "servers": cluster.urls,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.2,
            "ping_interval": 3,
            "max_outstanding_pings": 2,
            "error_cb": _ignore,
        }
        app = await nats.connect(**options)
        system = await nats.connect(**options, user=_USER, password=_USER)
        return cls(app, system)

    async def close(self) -> None:
        await self._app.close()
        await self._system.close()

    async def ask(self, name: str, body: Any = None) -> dict[str, Any] | None:
        """``$JS.API.<name>``; None without a good answer."""
        return await _ask(self._app, f"$JS.API.{name}", body)

    async def streams(self) -> list[dict[str, Any]]:
        """All streams' descriptions; empty without an answer."""
        answer = await self.ask("STREAM.LIST", {})
        return (answer or {}).get("streams") or []

    async def consumers(self, stream: str) -> list[dict[str, Any]]:
        answer = await self.ask(f"CONSUMER.LIST.{stream}", {})
        return (answer or {}).get("consumers") or []

    async def leader_of(self, stream: str) -> str:
        """The name of the node that leads a stream, once one does."""

        async def look() -> str | None:
            answer = await self.ask(f"STREAM.INFO.{stream}")
            return ((answer or {}).get("cluster") or {}).get("leader") or None

        return await until_found(look, f"a leader of {stream}", seconds=_SETTLED)

    async def step_down(self, stream: str, consumer: str = "") -> bool:
        """Whether a leader gave way."""
        name = f"CONSUMER.LEADER.STEPDOWN.{stream}.{consumer}" if consumer else ""
        answer = await self.ask(name or f"STREAM.LEADER.STEPDOWN.{stream}")
        return bool(answer and answer.get("success"))

    async def step_down_meta(self) -> bool:
        answer = await _ask(self._system, "$JS.API.META.LEADER.STEPDOWN", None)
        return bool(answer and answer.get("success"))

    async def settled(self, *, seconds: float = _SETTLED) -> None:
        """Wait until every stream and consumer has a leader whose followers have everything."""

        async def look() -> bool | None:
            return await self.is_whole() or None

        await until_found(look, "every stream and consumer whole", seconds=seconds)

    async def is_whole(self) -> bool:
        streams = await self.streams()
        if not streams or not all(map(_is_whole, streams)):
            return False
        for stream in streams:
            if not stream["state"].get("consumer_count"):
                continue
            consumers = await self.consumers(stream["config"]["name"])
            if not consumers or not all(map(_is_whole, consumers)):
                return False
        return True

    async def formed(self) -> None:
        """Wait until the nodes have found each other and a leader of all."""

        async def look() -> bool | None:
            answer = await _ask(self._system, "$SYS.REQ.SERVER.PING.JSZ", None)
            meta = ((answer or {}).get("data") or {}).get("meta_cluster") or {}
            is_whole = meta.get("leader") and meta.get("cluster_size") == SIZE
            # The cluster knows its size before all of it is there: an answer of each says so.
            return True if is_whole and await self.ask("INFO") else None

        await until_found(look, "a cluster with a leader", seconds=_SETTLED)


def _is_whole(one: dict[str, Any]) -> bool:
    cluster = one.get("cluster") or {}
    others = cluster.get("replicas") or []
    is_current = [other.get("current") and not other.get("offline") for other in others]
    return bool(cluster.get("leader")) and is_current.count(True) == SIZE - 1


async def _ask(outsider: Outsider, subject: str, body: Any) -> dict[str, Any] | None:
    data = b"" if body is None else json.dumps(body).encode()
    try:
        answer = await outsider.request(subject, data, timeout=_ANSWER)
    except (NatsError, TimeoutError, OSError):
        return None
    if not answer.data:
        return None
    found: dict[str, Any] = json.loads(answer.data)
    return None if "error" in found else found


async def _ignore(_error: Exception) -> None:
    """Nodes come and go here."""


@asynccontextmanager
async def running_nodes(folder: Path, *, apart: bool = False) -> AsyncGenerator[Cluster]:
    """A cluster on the loopback interface or, when the nodes are ``apart``, each on a network of its
    own whose cables can be pulled. Raises what :func:`namespaces` raises."""
    with ExitStack() as stack:
        network: Network | None = stack.enter_context(namespaces(SIZE)) if apart else None
        nodes = [
            Node(
                folder,
                f"n{number + 1}",
                host=network.cables[number].outside if network else "127.0.0.1",
                cable=network.cables[number] if network else None,
            )
            for number in range(SIZE)
        ]
        cluster = Cluster(nodes)
        cluster.link_routes()
        try:
            await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes))
            yield cluster
        except BaseException as error:
            error.add_note(cluster.last_words())
            raise
        finally:
            cluster.end()


@asynccontextmanager
async def operated(cluster: Cluster) -> AsyncGenerator[Operator]:
    operator = await Operator.of(cluster)
    try:
        await operator.formed()
        yield operator
    finally:
        await operator.close()
