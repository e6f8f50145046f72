"""Benchmarks that need a GPU, each with a criterion that it passes or not."""
