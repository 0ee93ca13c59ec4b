"""The same load on other engines, so that anyone can repeat a comparison on one machine.

May live here: one module per engine (how it starts, how its client runs one workflow) and what they
share. An engine that is not installed says what is missing. ``requirements.txt`` names what the
Python side needs; it belongs to no extra of perdure.
"""
