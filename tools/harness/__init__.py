"""Tasks for lm-evaluation-harness, made of this repository's benchmarks."""
