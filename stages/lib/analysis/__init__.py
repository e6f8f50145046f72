"""Accuracies, intervals, tests and comparisons."""
