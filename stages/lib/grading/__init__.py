"""Grade a model's text against the reference answer."""
