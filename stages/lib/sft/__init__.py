"""Supervised fine-tuning at equal compute."""
