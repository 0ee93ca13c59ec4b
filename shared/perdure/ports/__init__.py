"""What the engine needs of the world: small Protocols whose docstrings are law.

Each port is judged by one contract suite (``perdure.testing.check_*``) that runs on every adapter.
Instants and durations are integer nanoseconds; sequences are the log stream's, and grow.

Every method that does I/O may raise :class:`~perdure.ports.errors.Unavailable` (it did not happen)
and, where it writes, :class:`~perdure.ports.errors.UnknownOutcome` (it may have happened).
"""
