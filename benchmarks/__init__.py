"""Ours beside a peer: one module each, run as ``python -m benchmarks.NAME``.

Each prints one JSON line: ``name``, ``ours``, ``peer``, ``ratio``, ``unit``, what the
two are, and the machine. Both sides are measured in the same run.
"""
