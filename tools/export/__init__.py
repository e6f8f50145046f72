"""Export a model for CPUs without PyTorch."""
