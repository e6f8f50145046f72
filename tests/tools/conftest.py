"""Fixtures that commands share with stages."""

from tests.stages.conftest import change as change
