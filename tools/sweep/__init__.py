"""Run a grid or a search over DVC experiments."""
