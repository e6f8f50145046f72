"""What a sweep varies: a checked file of ``conf/sweep/``, and its effect on the parameters.

A parameter is a dotted path in ``params.yaml``, as ``dvc exp run -S`` takes it. A choice
that is a mapping changes several keys of a group at once.
"""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from stages.lib.core.paths import CONF, TABLES
from stages.lib.core.schema import NonEmpty, content_id
from stages.lib.core.validation import describe_error
from stages.lib.params.base import Name, ParamGroup, PositiveInt, Seed
from stages.lib.params.compose import compose as compose
from stages.lib.params.load import parse_params

Direction = Literal["minimize", "maximize"]
Values = Mapping[str, Any]
"""The value of each swept parameter by its path: a point of a grid or a search."""


class Choices(ParamGroup):
    """A parameter that takes one of some values."""

    label: NonEmpty
    choices: Annotated[list[Any], Field(min_length=1)]

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: list[Any]) -> list[Any]:
        if any(choice in choices[:place] for place, choice in enumerate(choices)):
            raise ValueError("expected each choice once")
        return choices

    def tried(self) -> list[Any]:
        """Return the values to check before any work."""
        return self.choices


class Range(ParamGroup):
    """A number between two ends, drawn evenly or (``log``) evenly by its logarithm.

    It is whole if both ends are.
    """

    label: NonEmpty
    low: int | float
    high: int | float
    log: bool

    @field_validator("high")
    @classmethod
    def _is_above_low(cls, high: float, info: ValidationInfo) -> float:
        low = info.data.get("low")
        if low is not None and high <= low:
            raise ValueError(f"expected more than low={low}")
        return high

    @field_validator("log")
    @classmethod
    def _has_a_logarithm(cls, log: bool, info: ValidationInfo) -> bool:
        low = info.data.get("low")
        if log and low is not None and low <= 0:
            raise ValueError(f"expected false with low={low}")
        return log

    def tried(self) -> list[Any]:
        """Return the values to check before any work."""
        return [self.low, self.high]


def _kind(value: Any) -> str:
    ranged = isinstance(value, Range) or (isinstance(value, dict) and "low" in value)
    return "range" if ranged else "choices"


Parameter = Annotated[
    Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_kind)
]


class AccuracyScore(ParamGroup):
    """A system's accuracy, with its interval, from ``reports/tables/accuracy.csv``.

    ``baseline`` is a system to show beside it, whose accuracy no trial changes.
    """

    benchmark: Name
    answer_mode: Literal["cot", "pot", "fallback"]
    system: Name
    baseline: Name | None

    @property
    def file(self) -> Path:
        """Where it stands."""
        return TABLES / "accuracy.csv"

    @property
    def direction(self) -> Direction:
        """What is better."""
        return "maximize"


class MetricScore(ParamGroup):
    """A number of a JSON file that is in git: ``FILE:KEY``, as ``dvc metrics show`` names it."""

    metric: Annotated[str, Field(pattern=r"^[^:]+\.json:[^:]+$")]
    direction: Direction

    @property
    def file(self) -> Path:
        """Where it stands."""
        return Path(self.metric.partition(":")[0])

    @property
    def key(self) -> str:
        """Its dotted path in the file."""
        return self.metric.partition(":")[2]


def _score_kind(value: Any) -> str:
    is_metric = isinstance(value, MetricScore) or (isinstance(value, dict) and "metric" in value)
    return "of a metric" if is_metric else "of answers"


Score = Annotated[
    Annotated[AccuracyScore, Tag("of answers")] | Annotated[MetricScore, Tag("of a metric")],
    Discriminator(_score_kind),
]


class Grid(ParamGroup):
    """Every combination of some values."""

    method: Literal["grid"]
    targets: Annotated[list[NonEmpty], Field(min_length=1)]
    overrides: list[NonEmpty]
    parameters: Annotated[dict[NonEmpty, Choices], Field(min_length=1)]
    score: Score

    @property
    def trials(self) -> int:
        """How many points it has."""
        return len(self.points())

    def points(self) -> list[Values]:
        """Return every point; the last parameter runs fastest."""
        paths = list(self.parameters)
        values = product(*(one.choices for one in self.parameters.values()))
        return [dict(zip(paths, point, strict=True)) for point in values]

    def tried(self) -> list[Values]:
        """Return the points to check before any work: all."""
        return self.points()


class Search(ParamGroup):
    """Points that depend on the scores of those before them."""

    method: Literal["search"]
    trials: PositiveInt
    seed: Seed
    targets: Annotated[list[NonEmpty], Field(min_length=1)]
    overrides: list[NonEmpty]
    parameters: Annotated[dict[NonEmpty, Parameter], Field(min_length=1)]
    score: Score

    def tried(self) -> list[Values]:
        """Return the points to check before any work: one parameter at a time is moved."""
        first = {path: one.tried()[0] for path, one in self.parameters.items()}
        return [
            first | {path: value} for path, one in self.parameters.items() for value in one.tried()
        ]


Sweep = Grid | Search
_ADAPTER: TypeAdapter[Sweep] = TypeAdapter(Annotated[Sweep, Field(discriminator="method")])


def place(name: str) -> Path:
    """Return where the file of a sweep lies."""
    return CONF / "sweep" / f"{name}.yaml"


def load(name: str) -> Sweep:
    """Read and check ``conf/sweep/NAME.yaml``. Raises ValueError naming the field."""
    path = place(name)
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.yaml"))
        raise ValueError(f"{name!r}: expected one of {known}, which {path.parent} has")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as error:
        raise ValueError(f"{path}: {describe_error(error, raw)}") from error


def identity(wanted: Sweep) -> str:
    """Return a hash of what makes trials comparable: all but their number and their score."""
    varied = wanted.model_dump(mode="json", exclude={"trials", "score"})
    return content_id(json.dumps(varied, sort_keys=True))


def changed(raw: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """Return parameters with the values of a point; a mapping is merged into its group.

    Raises ValueError for a path that is no parameter.
    """
    config = OmegaConf.create(dict(raw))
    OmegaConf.set_struct(config, True)
    for path, value in values.items():
        try:
            OmegaConf.update(config, path, value, merge=True)
        except OmegaConfBaseException as error:
            raise ValueError(f"parameters.{path}: {value!r}: no such parameter") from error
    found = OmegaConf.to_container(config)
    if not isinstance(found, dict):
        raise TypeError(f"{type(found)}: expected a mapping")
    return {str(key): value for key, value in found.items()}


def check(wanted: Sweep, raw: Mapping[str, Any]) -> None:
    """Check every point, or every end of it, against the schema of the parameters."""
    for values in wanted.tried():
        checked = parse_params(changed(raw, values), where="parameters")
        score = wanted.score
        if isinstance(score, AccuracyScore):
            systems = checked.evaluate.systems()
            for key, system in (("system", score.system), ("baseline", score.baseline)):
                if system is not None and system not in systems:
                    raise ValueError(f"score.{key}: {system!r}: expected one of {systems}")
            if score.benchmark not in checked.prepare.benchmarks:
                known = list(checked.prepare.benchmarks)
                raise ValueError(f"score.benchmark: {score.benchmark!r}: expected one of {known}")
