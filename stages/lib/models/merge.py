"""Merge a PEFT adapter into the weights of its model."""

from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file

from stages.lib.models.fingerprint import save_atomically
from stages.lib.models.folder import ADAPTER_WEIGHTS
from stages.lib.models.loading import load_model, load_tokenizer


def merge_adapter(parent: Path, adapter: Path, out: Path) -> None:
    """Save a model with an adapter merged, in bf16, with the model's own tokenizer.

    The sum is rounded once. Raises ValueError if the adapter does not fit the model.
    """
    try:
        model = PeftModel.from_pretrained(load_model(parent, torch.float32), str(adapter))
    except (RuntimeError, ValueError, TypeError) as error:
        # PyTorch adds a line for each weight; the first one is enough.
        cause = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise ValueError(f"{adapter}: does not fit the model {parent}: {cause}") from error
    # PEFT only warns about weights that have no place in the model.
    unused = set(load_file(adapter / ADAPTER_WEIGHTS)) ^ set(get_peft_model_state_dict(model))
    if unused:
        raise ValueError(
            f"{adapter}: does not fit the model {parent}: {len(unused)} weights have no "
            f"counterpart, such as {min(unused)}"
        )
    merged = cast(Any, model).merge_and_unload().to(torch.bfloat16)
    with save_atomically(out) as tmp:
        merged.save_pretrained(tmp)
        load_tokenizer(parent).save_pretrained(tmp)
