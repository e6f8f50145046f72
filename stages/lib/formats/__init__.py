"""Read rows of published data sets as problems or conversations."""
