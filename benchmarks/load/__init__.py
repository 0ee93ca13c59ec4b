"""The load generator: a process of its own that uses the public client.

May live here: jobs, and the workflows that they run. Nothing here starts processes or knows of
targets. ``python -m load`` reads jobs from standard input and says on standard output how far it
is, then what came out.
"""
