"""The specification of a sweep: a checked file of ``conf/sweep/``, and its trials' parameters."""

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import Discriminator, Field, PositiveInt, Tag, ValidationError, model_validator

from stages.lib.analysis.systems import evaluated_systems
from stages.lib.core.paths import CONF, TABLES
from stages.lib.core.schema import NonEmpty
from stages.lib.core.validation import describe_error
from stages.lib.params.base import Name, ParamGroup, Seed
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params

Values = Mapping[str, Any]
"""The value of each swept parameter, by its dotted path in params.yaml: a point."""


class Parameter(ParamGroup):
    """A parameter with several choices, or a range that is uniform or (``log``) log-uniform.

    A choice that is a mapping sets several keys of a group. A range between integers has
    integers only.
    """

    label: NonEmpty
    choices: Annotated[list[Any] | None, Field(min_length=1)] = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False

    @model_validator(mode="after")
    def _is_either(self) -> Self:
        low, high, choices = self.low, self.high, self.choices
        if (low is None) != (high is None) or (low is None) == (choices is None):
            raise ValueError("choices: expected either choices, or low and high")
        if choices and any(choice in choices[:index] for index, choice in enumerate(choices)):
            raise ValueError(f"choices: {choices}: expected each once")
        if low is not None and high is not None and high <= low:
            raise ValueError(f"high: {high}: expected more than low={low}")
        if self.log and (low is None or low <= 0):
            raise ValueError("log: true: expected only with a low above 0")
        return self

    @property
    def examples(self) -> list[Any]:
        """Every choice, or the bounds."""
        return [self.low, self.high] if self.choices is None else self.choices


class AccuracyScore(ParamGroup):
    """A system's accuracy, with its interval, from ``reports/tables/accuracy.csv``.

    ``baseline`` is a system to show beside it, whose accuracy no trial changes.
    """

    benchmark: Name
    answer_mode: Literal["cot", "pot", "fallback"]
    system: Name
    baseline: Name | None

    file: ClassVar[Path] = TABLES / "accuracy.csv"
    direction: ClassVar[Literal["maximize"]] = "maximize"


class MetricScore(ParamGroup):
    """A number of a JSON file in git: ``FILE:KEY``, as ``dvc metrics show`` names it."""

    metric: Annotated[str, Field(pattern=r"^[^:]+\.json:[^:]+$")]
    direction: Literal["minimize", "maximize"]

    @property
    def file(self) -> Path:
        """The JSON file."""
        return Path(self.metric.partition(":")[0])

    @property
    def key(self) -> str:
        """The dotted path of the number in the file."""
        return self.metric.partition(":")[2]


def _score_kind(score: Any) -> str:
    keys = score if isinstance(score, dict) else getattr(score, "__dict__", {})
    return "metric" if "metric" in keys else "accuracy"


class Sweep(ParamGroup):
    """A grid of all combinations of choices, or a search of some trials."""

    method: Literal["grid", "search"]
    trials: PositiveInt | None = None
    seed: Seed | None = None
    targets: Annotated[list[NonEmpty], Field(min_length=1)]
    overrides: list[NonEmpty]
    parameters: Annotated[dict[NonEmpty, Parameter], Field(min_length=1)]
    score: Annotated[
        Annotated[AccuracyScore, Tag("accuracy")] | Annotated[MetricScore, Tag("metric")],
        Discriminator(_score_kind),
    ]

    @model_validator(mode="after")
    def _fits_its_method(self) -> Self:
        for key in ("trials", "seed"):
            if (getattr(self, key) is None) != (self.method == "grid"):
                raise ValueError(f"{key}: expected for a search, and only there")
        for path, parameter in self.parameters.items():
            if self.method == "grid" and parameter.choices is None:
                raise ValueError(f"parameters.{path}: a range: expected choices in a grid")
        return self

    @property
    def n_trials(self) -> int:
        """The number of trials."""
        return self.trials or len(self.points())

    def points(self) -> list[Values]:
        """Return every point of a grid; the last parameter varies fastest.

        Of a search, return points with every choice and bound, one parameter varied at a time.
        """
        examples = {path: parameter.examples for path, parameter in self.parameters.items()}
        if self.method == "grid":
            return [
                dict(zip(examples, point, strict=True)) for point in product(*examples.values())
            ]
        first = {path: values[0] for path, values in examples.items()}
        return [first | {path: value} for path, values in examples.items() for value in values]


def load_sweep(name: str) -> Sweep:
    """Read and check ``conf/sweep/NAME.yaml``. Raises ValueError naming the field."""
    path = CONF / "sweep" / f"{name}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.yaml"))
        raise ValueError(f"{name!r}: expected one of {names}, the files of {path.parent}")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        return Sweep.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{path}: {describe_error(error, raw)}") from error


def compose_trial(sweep: Sweep, values: Values, conf: Path) -> dict[str, Any]:
    """Return the parameters of a trial, as ``dvc exp run -S`` composes them from ``conf``.

    Raises ValueError for a path that is not a parameter.
    """
    point = [f"{path}={_override(value)}" for path, value in values.items()]
    return compose([*sweep.overrides, *point], conf)


def check_sweep(sweep: Sweep) -> None:
    """Check the parameters of every point, and the score. Raises ValueError naming the key."""
    score = sweep.score
    for values in sweep.points():
        params = parse_params(compose_trial(sweep, values, CONF), where="parameters")
        if isinstance(score, AccuracyScore):
            systems = evaluated_systems(params.evaluate)
            for key, name, names in (
                ("system", score.system, systems),
                ("baseline", score.baseline, [None, *systems]),
                ("benchmark", score.benchmark, list(params.prepare.benchmarks)),
            ):
                if name not in names:
                    raise ValueError(f"score.{key}: {name!r}: expected one of {names}")


def _override(value: Any) -> str:
    """Write a value in Hydra's grammar: JSON whose keys have no quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_override(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_override, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
