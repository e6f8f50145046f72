"""Generation with vLLM: one engine, several processes, or Ray actors."""
