"""The arithmetic ladder, benchmarks, decontamination, and the assembly of all problems."""
