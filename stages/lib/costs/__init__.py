"""Estimate what a run would cost."""
