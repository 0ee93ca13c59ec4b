"""Seeded storms over a whole deployment in one process and virtual time: deterministic simulation."""
