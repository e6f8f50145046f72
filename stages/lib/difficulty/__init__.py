"""Difficulty of problems from samples, and the training examples of each arm."""
