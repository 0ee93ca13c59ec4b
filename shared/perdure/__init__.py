"""Durable workflows in Python over NATS JetStream."""

__version__ = "0.1.0"
