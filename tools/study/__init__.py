"""A registered study: blocks of runs, and what they say together."""
