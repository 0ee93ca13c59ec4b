"""The ``perdure`` command: start and inspect workflows, run the services, look after a namespace.

May live here: flags, tables, exit codes. What a command does is the client's, the engine's or a
service's business.
"""
