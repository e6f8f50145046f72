"""Override parameters of one group with those set in another."""

from typing import TypeVar

from pydantic import BaseModel

Group = TypeVar("Group", bound=BaseModel)


def overlay(group: Group, own: BaseModel) -> Group:
    """Return ``group`` with the values of ``own``; None keeps the value of ``group``."""
    values = {name: getattr(own, name) for name in type(own).model_fields}
    return group.model_copy(
        update={name: value for name, value in values.items() if value is not None}
    )
