"""A registered study: runs its blocks and analyzes them."""
