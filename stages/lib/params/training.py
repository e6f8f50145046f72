"""Parameters of supervised fine-tuning, some of which GRPO shares."""

from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from stages.lib.core.schema import NonEmpty
from stages.lib.params.base import ParamGroup, Seed, check_unique

Schedule = Literal["cosine", "linear", "constant_with_warmup"]


class FullTuning(ParamGroup):
    """Every parameter is trained, with 32-bit copies (adamw), or rounded at random (adamw_8bit).

    ``adamw_8bit`` keeps bf16 weights alone, and Adam's moments in 8 bits.
    """

    method: Literal["full"]
    optimizer: Literal["adamw", "adamw_8bit"]


class AdapterTuning(ParamGroup):
    """Low-rank adapters beside frozen weights, in bf16 (lora) or in NF4 (qlora).

    ``targets`` are the last parts of the names of the linear layers that get one.
    """

    method: Literal["lora", "qlora"]
    r: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: Annotated[list[NonEmpty], Field(min_length=1)]
    optimizer: Literal["adamw", "paged_adamw_8bit"]


Tuning = Annotated[FullTuning | AdapterTuning, Field(discriminator="method")]


class Launch(ParamGroup):
    """Distributed training: the strategy, and the number of processes on all machines."""

    strategy: Literal["ddp", "fsdp2"]
    processes: Annotated[int, Field(ge=2)]


Tracker = Literal["tensorboard", "trackio", "wandb"]

# The releases that the locks have.
TRACKER_VERSIONS: dict[Tracker, str] = {
    "tensorboard": "2.21.0",
    "trackio": "0.43.0",
    "wandb": "0.31.0",
}


def _check_installed(trackers: list[Tracker]) -> list[Tracker]:
    for name in trackers:
        if find_spec(name) is None:
            raise ValueError(
                f"{name} is not installed: expected {name}=={TRACKER_VERSIONS[name]}, "
                "which requirements.txt has (`make setup`)"
            )
    return trackers


Trackers = Annotated[list[Tracker], AfterValidator(check_unique), AfterValidator(_check_installed)]


class Train(ParamGroup):
    """Supervised fine-tuning; every arm gets ``steps * tokens_per_step`` supervised tokens.

    An arm may replace ``seed``, ``tuning`` and ``steps`` (``weigh.arms.<arm>.train``).
    A step's examples are spread over ``micro_batches`` rows or, where ``row_tokens`` is given, over
    the fewest rows of at most that many tokens; online arms, whose steps are not known beforehand,
    keep ``micro_batches``. ``validation`` problems are held out; the loss on them is measured and
    may choose the checkpoint to keep.
    ``launch`` spreads each step's micro-batches over several processes. ``tracking`` names
    experiment trackers beside DVCLive.
    """

    seed: Seed
    tuning: Tuning
    steps: PositiveInt
    tokens_per_step: PositiveInt
    micro_batches: PositiveInt
    row_tokens: PositiveInt | None
    gradient_checkpointing: bool
    compile: bool
    max_length: PositiveInt
    overlong: Literal["error", "drop", "truncate"]
    learning_rate: PositiveFloat
    schedule: Schedule
    warmup_steps: NonNegativeInt
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: PositiveFloat
    save_every: PositiveInt
    validation: NonNegativeInt
    evaluate_every: PositiveInt | None
    keep: Literal["last", "best"]
    launch: Launch | None
    tracking: Trackers

    @model_validator(mode="after")
    def _measures_what_it_chooses_by(self) -> "Train":
        if self.evaluate_every is not None and self.validation == 0:
            raise ValueError(
                f"evaluate_every: {self.evaluate_every}: expected train.validation above 0, or null"
            )
        if self.keep == "best" and self.evaluate_every is None:
            raise ValueError("keep: 'best': expected train.evaluate_every, or 'last'")
        return self

    @model_validator(mode="after")
    def _rows_hold_any_example(self) -> "Train":
        if self.row_tokens is not None and self.row_tokens < self.max_length:
            raise ValueError(
                f"row_tokens: {self.row_tokens}: expected at least max_length={self.max_length}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_launched(self) -> "Train":
        launch = self.launch
        if launch is None:
            return self
        if self.micro_batches % launch.processes:
            raise ValueError(
                f"micro_batches: {self.micro_batches}: "
                f"expected a multiple of launch.processes={launch.processes}"
            )
        if self.keep == "best" and launch.strategy == "fsdp2":
            raise ValueError(
                f"keep: 'best': expected 'last' with {launch.strategy}, "
                "whose processes hold no whole model"
            )
        return self
