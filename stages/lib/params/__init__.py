"""The schema of params.yaml: types, bounds and checks, no defaults but None."""
