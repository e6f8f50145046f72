"""Utilities that change no result: terminal, devices, allocator, child processes."""
