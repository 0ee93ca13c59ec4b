"""The whole meaning of a workflow, and nothing else.

May live here: events, commands, records, the deterministic loop, the machine that turns events
into commands, replay. Must not be known here: network, clock, files, threads, environment, the
global random generator, and every other room of perdure. ``loop`` alone imports asyncio and
``randomness`` alone imports random.

Theory: a workflow is a function of its log. ``machine.Instance.apply(event)`` runs the user's code
until it waits, and returns the commands it decided on. The engine records them, performs them, and
feeds what comes back. The same log and the same code give the same commands, byte for byte.
"""
