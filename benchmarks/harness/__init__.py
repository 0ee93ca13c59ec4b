"""What every measurement stands on: processes, their CPU time, the machine, and jobs.

May live here: starting and watching processes. What is measured stands in ``lines``, what makes the
load in ``load``.
"""
