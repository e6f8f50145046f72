"""Run Python programs that a model wrote."""
