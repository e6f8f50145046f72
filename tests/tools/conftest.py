"""Fixtures that commands share with stages."""

from tests.stages.conftest import change, prepared, with_problems

__all__ = ["change", "prepared", "with_problems"]
