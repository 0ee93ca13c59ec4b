"""Runs activities: takes tasks from a queue, runs users' code, and puts outcomes into the log.

Theory: a task is one message, and whatever changes the attempt replaces it. A worker holds it by a
lease while it runs. The outcome is in the log before the task leaves the queue, so whoever gets a
task late or again finds out by a look; and the log counts one outcome per activity, whoever wrote
it. ``worker`` composes the rooms; ``intake`` leads one delivery through them.
"""
