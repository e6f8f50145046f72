"""Parameters of quantization: which models are made, and how."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from stages.lib.params.base import Name, ParamGroup, Seed

Bits = Literal[2, 3, 4, 8]


class Gptq(ParamGroup):
    """GPTQ (Frantar et al. 2023), calibrated on texts of a file.

    The file ``calibrate_on`` has the training examples of an arm or a GRPO model, or a column
    ``text``. Another ``calibration_seed`` draws another set of its texts.
    """

    method: ClassVar[Literal["gptq"]] = "gptq"
    parent: Name
    bits: Bits
    calibrate_on: Annotated[str, Field(pattern=r"^[^\s].*\.parquet$")]
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


Rounded = Annotated[Rtn | Nf4 | Int8, Field(discriminator="method")]
QuantizedModel = Gptq | Rounded


class Calibration(ParamGroup):
    """How much text GPTQ sees: examples or passages, and tokens of each at most."""

    examples: PositiveInt
    max_length: PositiveInt


class Quantize(ParamGroup):
    """The models to make, and the settings that GPTQ and round to nearest share."""

    seed: Seed
    gptq: dict[Name, Gptq]
    rounded: dict[Name, Rounded]
    group_size: Literal[-1, 16, 32, 64, 128]
    desc_act: bool
    act_group_aware: bool
    symmetric: bool
    damping: Annotated[float, Field(gt=0, lt=1)]
    calibration: Calibration


def quantized_models(quantize: Quantize) -> dict[Name, QuantizedModel]:
    """Return the models of both groups by name."""
    return {**quantize.gptq, **quantize.rounded}
