"""Benchmarks of this project against a peer: ``python -m benchmarks.NAME`` runs a module.

Each prints one JSON line: ``name``, ``ours``, ``peer``, ``ratio``, ``unit``, what the
peer is, and the machine. Both sides are measured in the same run.
"""
