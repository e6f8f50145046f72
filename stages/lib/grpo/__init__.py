"""Group relative policy optimization with verifiable rewards."""
