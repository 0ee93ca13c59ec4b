"""The durable front door: requests that anyone published, in order per workflow, into the log.

One gateway of the namespace drains the door at a time. A request is settled only when what it led
to is stored: a started run, a delivered signal, or a dead letter with its reason.
"""

from perdure.engine.ingress.drain import GROUP, IngressDrain, rank

__all__ = ["GROUP", "IngressDrain", "rank"]
