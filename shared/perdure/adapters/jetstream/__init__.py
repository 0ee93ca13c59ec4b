"""The ports over NATS JetStream: everything that knows NATS lives in this room.

``subjects`` names things, ``link`` is the one connection, ``topology`` creates the streams, and each
port has a file of its own name.
"""
