"""The specification of a study: ``conf/study.yaml``, as it is registered."""

from typing import Annotated, Literal

import yaml
from pydantic import Field, PositiveInt, ValidationError, model_validator

from stages.lib.core.paths import CONF
from stages.lib.core.schema import NonEmpty
from stages.lib.core.validation import describe_error
from stages.lib.params.base import Name, ParamGroup, Seed
from stages.lib.params.evaluation import MIN_RUNS

FILE = CONF / "study.yaml"

Stratum = Literal["easy", "hard"]


class Study(ParamGroup):
    """Which runs a study has, and what it tests.

    A block has one run of each arm of ``recipe``, all with one of ``seeds``. A cell, written
    as source/prompting, is easy if it is listed and hard otherwise. Both primary endpoints are
    tested one-sided at (1 - ``level``) / 2: ``candidate`` - ``baseline`` is above 0 on hard
    cells, and above -``margin`` on easy ones. If both hold, ``candidate`` - ``control`` is
    tested on hard cells. Fewer than ``least_blocks`` are inconclusive.
    """

    recipe: Name
    seeds: Annotated[list[Seed], Field(min_length=MIN_RUNS)]
    candidate: Name
    baseline: Name
    control: Name
    easy: Annotated[list[NonEmpty], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0, lt=1)]
    level: Annotated[float, Field(gt=0, lt=1)]
    least_blocks: PositiveInt

    @model_validator(mode="after")
    def _has_enough_seeds(self) -> "Study":
        if len(set(self.seeds)) < max(self.least_blocks, len(self.seeds)):
            raise ValueError(
                f"seeds: {self.seeds}: expected at least least_blocks={self.least_blocks}, "
                "each once"
            )
        if self.least_blocks < MIN_RUNS:
            raise ValueError(f"least_blocks: {self.least_blocks}: expected at least {MIN_RUNS}")
        return self


def load_study() -> Study:
    """Read ``conf/study.yaml``. Raises ValueError naming the field."""
    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{FILE}: {describe_error(error, raw)}") from error
