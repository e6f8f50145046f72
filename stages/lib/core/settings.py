"""Lay one group of parameters over another."""

from typing import TypeVar

from pydantic import BaseModel

Group = TypeVar("Group", bound=BaseModel)


def overlay(group: Group, own: BaseModel) -> Group:
    """Return ``group`` with the values that ``own`` sets; what is None there stays as it is."""
    values = {name: getattr(own, name) for name in type(own).model_fields}
    return group.model_copy(
        update={name: value for name, value in values.items() if value is not None}
    )
