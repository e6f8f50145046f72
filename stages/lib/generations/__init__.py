"""Generation requests, and a store of generations that survives a kill."""
