"""Types that groups of parameters share."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stages.lib.core.schema import Prompting

T = TypeVar("T")


def check_unique(values: list[T]) -> list[T]:
    """Return the list; ValueError if it has something twice."""
    if len(set(values)) < len(values):
        raise ValueError("expected no duplicates")
    return values


Seed = Annotated[int, Field(ge=0, lt=2**31)]
OpenUnit = Annotated[float, Field(gt=0, lt=1)]
Promptings = Annotated[list[Prompting], Field(min_length=1), AfterValidator(check_unique)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class ParamGroup(BaseModel):
    """A group of parameters: unknown keys, missing keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
