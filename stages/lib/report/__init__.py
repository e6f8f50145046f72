"""Sentences, cards, the web page, and the facts of the paper."""
