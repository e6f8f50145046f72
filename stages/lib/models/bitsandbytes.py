"""The formats of bitsandbytes, for QLoRA and for quantized models."""

import torch
from transformers import BitsAndBytesConfig


def nf4() -> BitsAndBytesConfig:
    """Return 4-bit normal floats with double quantization (Dettmers et al. 2023)."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def int8() -> BitsAndBytesConfig:
    """Return LLM.int8() (Dettmers et al. 2022): 8-bit weights with a scale for each row."""
    return BitsAndBytesConfig(load_in_8bit=True)
