"""A worker, a client that starts and a client that signals, each a process of its own."""
