"""Difficulty from samples, and what each arm makes of it."""
