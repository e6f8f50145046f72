"""The specification of a study: ``conf/study.yaml``, as it is registered."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from stages.lib.core.paths import CONF
from stages.lib.core.schema import NonEmpty
from stages.lib.params.base import Name, ParamGroup, Seed
from stages.lib.params.evaluation import MIN_RUNS
from stages.lib.params.load import load_group

FILE = CONF / "study.yaml"

Stratum = Literal["easy", "hard"]
STRATA: tuple[Stratum, ...] = ("hard", "easy")


class VarianceLook(ParamGroup):
    """A look at the variance alone: ``seeds`` join the study if it is too large.

    That is, if after the first ``blocks`` the interval on hard cells reaches further than
    ``half_width`` to each side. Where its middle lies is not looked at.
    """

    blocks: Annotated[int, Field(ge=MIN_RUNS)]
    half_width: Annotated[float, Field(gt=0, lt=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]


class Dose(ParamGroup):
    """The dose curve: a recipe that has the candidate and the baseline with several steps."""

    recipe: Name
    seeds: Annotated[list[Seed], Field(min_length=MIN_RUNS)]


class Study(ParamGroup):
    """Which runs a study has, and what it tests.

    A block has one run of each arm of ``recipe``, all with one of ``seeds``. A cell, written
    as source/prompting, is easy if it is listed and hard otherwise. Both primary endpoints are
    tested one-sided at (1 - ``level``) / 2: ``candidate`` - ``baseline`` is above 0 on hard
    cells, and above -``margin`` on easy ones. If both hold, ``candidate`` - ``control`` is
    tested on hard cells. Fewer than ``least_blocks`` are inconclusive. ``dose`` is descriptive.
    """

    recipe: Name
    seeds: Annotated[list[Seed], Field(min_length=MIN_RUNS)]
    look: VarianceLook
    candidate: Name
    baseline: Name
    control: Name
    easy: Annotated[list[NonEmpty], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0, lt=1)]
    level: Annotated[float, Field(gt=0, lt=1)]
    least_blocks: PositiveInt
    dose: Dose

    @model_validator(mode="after")
    def _has_enough_seeds(self) -> "Study":
        if len(self.seeds) < max(self.least_blocks, self.look.blocks):
            raise ValueError(
                f"seeds: {self.seeds}: expected at least least_blocks={self.least_blocks} and "
                f"look.blocks={self.look.blocks} of them"
            )
        if len({*self.seeds, *self.look.seeds}) < len(self.seeds) + len(self.look.seeds):
            raise ValueError(
                f"seeds, look.seeds: {self.seeds}, {self.look.seeds}: expected each seed once"
            )
        if self.least_blocks < MIN_RUNS:
            raise ValueError(f"least_blocks: {self.least_blocks}: expected at least {MIN_RUNS}")
        return self


def load_study() -> Study:
    """Read ``conf/study.yaml``. Raises ValueError naming the field."""
    return load_group(FILE, Study)
