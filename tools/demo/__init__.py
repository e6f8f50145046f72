"""A web page on which two models answer the same question side by side."""
