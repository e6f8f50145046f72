"""Load, save and fingerprint models."""
