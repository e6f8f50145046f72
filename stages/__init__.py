"""The stages of the pipeline: one module each, run as ``python -m stages.NAME``."""
