"""Generation with vLLM: one engine, or several as Ray actors."""
