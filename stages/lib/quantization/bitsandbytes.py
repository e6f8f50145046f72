"""Quantize with bitsandbytes: NF4 and LLM.int8()."""

from pathlib import Path

import torch
from transformers import BitsAndBytesConfig

from stages.lib.models.fingerprint import save_atomically
from stages.lib.models.loading import load_model, load_tokenizer


def quantize_bitsandbytes(parent: Path, out: Path, config: BitsAndBytesConfig) -> None:
    """Save the model of ``parent`` in a format of bitsandbytes."""
    model = load_model(parent, torch.bfloat16, quantization_config=config)
    with save_atomically(out) as tmp:
        model.save_pretrained(tmp)
        load_tokenizer(parent).save_pretrained(tmp)
