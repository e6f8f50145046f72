"""Override parameters of one group with those set in another."""

from typing import TypeVar

from pydantic import BaseModel

Group = TypeVar("Group", bound=BaseModel)


def overlay(group: Group, own: BaseModel) -> Group:
    """Return ``group`` with the values of ``own``; None keeps the value of ``group``."""
    return group.model_copy(update={name: value for name, value in own if value is not None})
