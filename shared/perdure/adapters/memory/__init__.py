"""Every port in one process: a store of bytes that behaves like the server where it matters."""

from perdure.adapters.memory.backend import MemoryStore

__all__ = ["MemoryStore"]
