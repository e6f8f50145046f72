"""Parameters of quantization: which models are made, and how."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from stages.lib.params.base import Name, ParamGroup, Seed

Bits = Literal[2, 3, 4, 8]


class Gptq(ParamGroup):
    """GPTQ (Frantar et al. 2023) of an arm or a GRPO model.

    It is calibrated on the parent's training examples, on as many of them with hard
    problems more likely, or on unrelated text. Another
    ``calibration_seed`` draws another calibration set of the same kind.
    """

    method: Literal["gptq"]
    parent: Name
    bits: Bits
    calibrate_on: Literal["training", "difficulty", "text"]
    calibration_seed: PositiveInt


class Rtn(ParamGroup):
    """Round to nearest on the grid of GPTQ: the control, which needs no calibration."""

    method: Literal["rtn"]
    parent: Name
    bits: Bits


class Nf4(ParamGroup):
    """bitsandbytes' 4-bit normal floats with double quantization (Dettmers et al. 2023)."""

    method: Literal["nf4"]
    parent: Name
    bits: Literal[4]


class Int8(ParamGroup):
    """8-bit weights of bitsandbytes' LLM.int8() (Dettmers et al. 2022)."""

    method: Literal["int8"]
    parent: Name
    bits: Literal[8]


QuantizedModel = Annotated[Gptq | Rtn | Nf4 | Int8, Field(discriminator="method")]


class Calibration(ParamGroup):
    """How much text GPTQ sees: examples or passages, and tokens of each at most."""

    examples: PositiveInt
    max_length: PositiveInt


class Quantize(ParamGroup):
    """The models to make, and the settings that GPTQ and round to nearest share."""

    seed: Seed
    models: dict[Name, QuantizedModel]
    group_size: Literal[-1, 16, 32, 64, 128]
    desc_act: bool
    act_group_aware: bool
    symmetric: bool
    damping: Annotated[float, Field(gt=0, lt=1)]
    calibration: Calibration
