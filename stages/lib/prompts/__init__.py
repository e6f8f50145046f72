"""Prompt templates, in-context demonstrations, and tokenization with a loss mask."""
