"""A page that asks two models the same question."""
