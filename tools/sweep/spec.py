"""The specification of a sweep: a checked file of ``conf/sweep/``."""

import json
from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stages.lib.core.paths import CONF, METRICS, TABLES
from stages.lib.core.schema import NonEmpty
from stages.lib.params.base import ParamGroup, Seed
from stages.lib.params.compose import compose
from stages.lib.params.data import FileSource
from stages.lib.params.load import load_group, parse_params
from stages.lib.params.root import Params

Values = Mapping[str, Any]
"""The value of each swept parameter, by its dotted path in params.yaml."""

Choices = Annotated[list[Any], Field(min_length=1)]


class Range(ParamGroup):
    """A uniform or (``log``) log-uniform range; of integers if both bounds are."""

    low: int | float
    high: int | float
    log: bool

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"high: {self.high}: expected more than low={self.low}")
        if self.log and self.low <= 0:
            raise ValueError("log: true: expected only with a low above 0")
        return self


class Objective(ParamGroup):
    """A number that a trial writes into a file in git.

    ``key`` is a dotted path in a JSON file, or a column of the CSV table's row ``row``.
    """

    file: Annotated[str, Field(pattern=r"\.(json|csv)$")]
    row: dict[NonEmpty, str] | None = None
    key: NonEmpty
    direction: Literal["minimize", "maximize"]

    @model_validator(mode="after")
    def _has_a_row_in_a_table(self) -> Self:
        if (self.row is None) == self.file.endswith(".csv"):
            raise ValueError("row: expected for a CSV file, and only there")
        return self


class Sweep(ParamGroup):
    """A grid of all combinations of choices or, with ``trials``, a search of so many trials.

    A choice that is a mapping sets several keys of a group.
    """

    trials: PositiveInt | None = None
    seed: Seed | None = None
    targets: Annotated[list[NonEmpty], Field(min_length=1)]
    overrides: list[NonEmpty]
    choices: dict[NonEmpty, Choices] = {}
    ranges: dict[NonEmpty, Range] = {}
    score: Objective

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        if (self.trials is None) != (self.seed is None):
            raise ValueError("seed: expected for a search, and only there")
        if self.trials is None and self.ranges:
            raise ValueError(f"ranges.{next(iter(self.ranges))}: expected choices in a grid")
        if not self.choices and not self.ranges:
            raise ValueError("choices: expected a parameter to vary")
        return self

    @property
    def paths(self) -> list[str]:
        """The dotted paths of the swept parameters."""
        return [*self.choices, *self.ranges]

    @property
    def n_trials(self) -> int:
        """The number of trials."""
        return self.trials or len(self.points())

    def points(self) -> list[Values]:
        """Return every point of a grid; the last parameter varies fastest.

        Of a search, return points with every choice and bound, one parameter varied at a time.
        """
        ends = {path: [bounds.low, bounds.high] for path, bounds in self.ranges.items()}
        values = self.choices | ends
        if self.trials is None:
            return [dict(zip(values, point, strict=True)) for point in product(*values.values())]
        first = {path: options[0] for path, options in values.items()}
        return [first | {path: value} for path, options in values.items() for value in options]

    def overrides_at(self, values: Values) -> list[str]:
        """Return the overrides of a trial, as ``dvc exp run -S`` takes them."""
        return [*self.overrides, *(f"{path}={_override(value)}" for path, value in values.items())]


def load_sweep(name: str) -> Sweep:
    """Read ``conf/sweep/NAME.yaml`` and check it, and the parameters of every point.

    Raises ValueError naming the field.
    """
    path = CONF / "sweep" / f"{name}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise ValueError(f"sweep: {name!r}: expected one of {names}, the files of {path.parent}")
    sweep = load_group(path, Sweep)
    for values in sweep.points():
        params = parse_params(compose(sweep.overrides_at(values), CONF), where="parameters")
        if test_set := scored_test_set(sweep.score, params):
            raise ValueError(
                f"{path}: score.file: '{sweep.score.file}': scored on {test_set}: expected a dev "
                "set, as what is chosen on a test set looks better there than it is"
            )
    return sweep


def scored_test_set(score: Objective, params: Params) -> str | None:
    """Return a test set that the score is measured on, or None.

    ``dev`` and local files do not count as test sets; published benchmarks do.
    """
    if not score.file.startswith((TABLES.as_posix(), METRICS.as_posix())):
        return None
    named = (score.row or {}).get("benchmark")
    for name, source in params.prepare.benchmarks.items():
        is_dev = isinstance(source, FileSource) or getattr(source, "part", None) == "dev"
        if not is_dev and named in (None, name):
            return f"prepare.benchmarks.{name}"
    return None


def _override(value: Any) -> str:
    """Write a value in Hydra's grammar: JSON whose keys have no quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_override, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
