"""Machines that stand apart: network namespaces with cables that can be pulled.

Each machine has two cables: one to the test (its clients' network), one to a switch that all
machines share (where a cluster's nodes speak with each other). A namespace lives as long as a
process in it, and takes its cables with it, so nothing is left behind however a test ends.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="network namespaces are Linux's; there, they must be had"
)
_CLIENTS, _INSIDE = "clients", "inside"
_turns = itertools.count(1)
_TOOLS = ("ip", "nsenter", "unshare")


class NoNamespaces(Exception):
    """Why this machine cannot make network namespaces."""


@dataclass(frozen=True)
class Cable:
    """One machine's connections: ``outside`` is its address for clients, ``inside`` for its peers."""

    pid: int
    outside: str
    inside: str

    @property
    def within(self) -> list[str]:
        """A command that becomes another one on this machine."""
        return ["nsenter", "-t", str(self.pid), "-n", "--"]

    def pull(self, *, clients: bool) -> None:
        """Cut the machine off from its peers; with ``clients``, from everybody."""
        self._set(_INSIDE, "down")
        if clients:
            self._set(_CLIENTS, "down")

    def plug(self) -> None:
        """Heal whatever was cut."""
        self._set(_INSIDE, "up")
        self._set(_CLIENTS, "up")

    def _set(self, device: str, state: str) -> None:
        _run([*self.within, "ip", "link", "set", device, state])


@dataclass(frozen=True)
class Network:
    cables: list[Cable]


def why_not() -> str:
    """Why namespaces cannot be made here; empty when they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is missing: install iproute2 and util-linux"
    try:
        with namespaces(1):
            return ""
    except NoNamespaces as error:
        return str(error)


@contextmanager
def namespaces(count: int) -> Generator[Network]:
    """So many machines, gone with the block. Raises NoNamespaces."""
    # Addresses that are set apart for measurements; two tests at once must not share any, nor one
    # with its predecessor, whose networks the kernel takes down in its own time.
    turn = next(_turns)
    place = (os.getpid() + turn) % 60 * 4
    with ExitStack() as stack:
        switch = stack.enter_context(_machine())
        _in(switch, "link add switch type bridge forward_delay 0")
        _in(switch, "link set switch up")
        cables: list[Cable] = []
        for number in range(1, count + 1):
            pid = stack.enter_context(_machine())
            here, there = (f"198.18.{place + number}.{end}" for end in (1, 2))
            inside = f"198.18.{place}.{number}"
            name = f"pd{os.getpid() % 100_000}t{turn % 100}n{number}"
            _run(_words(f"ip link add {name} type veth peer name {_CLIENTS} netns {pid}"))
            stack.callback(_remove, name)
            _run(_words(f"ip addr add {here}/30 dev {name}"))
            _run(_words(f"ip link set {name} up"))
            _in(pid, f"addr add {there}/30 dev {_CLIENTS}")
            _in(pid, f"link add {_INSIDE} type veth peer name port{number} netns {switch}")
            _in(switch, f"link set port{number} master switch")
            _in(switch, f"link set port{number} up")
            _in(pid, f"addr add {inside}/24 dev {_INSIDE}")
            for device in ("lo", _CLIENTS, _INSIDE):
                _in(pid, f"link set {device} up")
            cables.append(Cable(pid, there, inside))
        yield Network(cables)


@contextmanager
def _machine() -> Generator[int]:
    """The id of a process that keeps a namespace alive until its input ends, as it does when the test
    dies."""
    command = ["unshare", "-n", "sh", "-c", "echo ready; read -r _"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as keeper:
        assert keeper.stdin and keeper.stdout and keeper.stderr
        try:
            if keeper.stdout.readline() != "ready\n":
                raise NoNamespaces(f"unshare -n: {keeper.stderr.read().strip()} (are you root?)")
            yield keeper.pid
        finally:
            keeper.kill()


def _in(pid: int, words: str) -> None:
    _run(["nsenter", "-t", str(pid), "-n", "--", "ip", *_words(words)])


def _remove(device: str) -> None:
    """At once; otherwise it goes with its namespace, when the kernel comes round to it."""
    subprocess.run(_words(f"ip link del {device}"), capture_output=True, check=False)


def _words(text: str) -> list[str]:
    return text.split()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoNamespaces(f"{' '.join(command)}: {done.stderr.strip()} (are you root?)")
