"""Grade published generations again."""
