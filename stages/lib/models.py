"""Loading and saving models; ``stages.lib.bases`` says how a base is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stages.lib.bases import Base
from stages.lib.files import file_sha256, replacing

WEIGHTS_PATTERN = "*.safetensors"
# What is fetched of a model of the Hub: weights, settings, tokenizer; no pickle and no code.
FETCHED = ["model*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
ADAPTER = "adapter_config.json"
SEAL = "fingerprint.txt"


def convert_base(base: Base, out: Path) -> None:
    """Save a base model as bf16 safetensors with its tokenizer and chat template."""
    model, tokenizer = _load_origin(base)
    with saving(out) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)


@contextmanager
def saving(out: Path) -> Iterator[Path]:
    """Yield a folder to save a model in, which takes the place of ``out`` at the end.

    Its fingerprint is kept in it: who reads the model later notices a changed byte.
    """
    with replacing(out) as aside:
        yield aside
        (aside / SEAL).write_text(fingerprint(aside) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder; ValueError names the folder if it is damaged."""
    existing = _existing(folder)
    try:
        return AutoTokenizer.from_pretrained(existing, trust_remote_code=False)
    except ValueError as error:
        raise ValueError(f"{folder}: damaged tokenizer: {error}") from error


def load_model(folder: Path, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """Load the model of a folder, safetensors only, by transformers' own code alone.

    Errors name the folder: ValueError if it is damaged, has pickles only, is an adapter
    without its model or brings code of its own, OSError if no model or a part is missing.
    ``options`` go to transformers.
    """
    try:
        return AutoModelForCausalLM.from_pretrained(
            _existing(folder),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except SafetensorError as error:
        raise ValueError(f"{folder}: damaged model file: {error}") from error


def fingerprint(folder: Path) -> str:
    """Return 16 hexadecimal digits that identify a model folder's weights and tokenizer.

    Raises ValueError if they are not those that ``saving`` kept in the folder.
    """
    parts = [
        f"{path.name}={file_sha256(path)}"
        for path in sorted(_existing(folder).iterdir())
        if path.suffix in (".safetensors", ".json", ".jinja")
    ]
    found = sha256("\n".join(parts).encode()).hexdigest()[:16]
    kept = folder / SEAL
    if kept.exists() and (expected := kept.read_text(encoding="utf-8").strip()) != found:
        raise ValueError(f"{folder}: damaged: its fingerprint is {found}, expected {expected}")
    return found


def weight_bytes(folder: Path) -> int:
    """Return the size of a model folder's weight files in bytes."""
    return sum(path.stat().st_size for path in _existing(folder).glob(WEIGHTS_PATTERN))


def _load_origin(base: Base) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if base.kind == "gguf":
        return _load_gguf(Path(base.location), base.sha256)
    if base.kind == "folder":
        folder = Path(base.location)
        return load_model(folder, torch.bfloat16), load_tokenizer(folder)
    try:
        # Offline, this is what the Hub's cache has of that commit.
        folder = Path(
            snapshot_download(base.location, revision=base.revision, allow_patterns=FETCHED)
        )
        return load_model(folder, torch.bfloat16), load_tokenizer(folder)
    except OSError as error:
        raise OSError(
            f"model.base: {base.location}@{base.revision}: no whole model in the Hub's cache or "
            f"within reach (pickles are not fetched); with network access, run "
            f"`hf download {base.location} --revision {base.revision}` first"
        ) from error


def _load_gguf(path: Path, expected: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    found = file_sha256(path)
    if found != expected:
        raise ValueError(f"{path}: damaged or other file: sha256 {found}, expected {expected}")
    model = AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
    )
    tokenizer = AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name, trust_remote_code=False
    )
    return model, tokenizer


def _existing(folder: Path) -> Path:
    if any(folder.glob(WEIGHTS_PATTERN)):
        # transformers would follow it to another model, at whatever commit that has now.
        if (folder / ADAPTER).exists():
            raise ValueError(f"{folder}: an adapter: expected a whole model, without {ADAPTER}")
        return folder
    pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickles:
        raise ValueError(
            f"{folder}: weights as pickles, which can run code ({pickles[0]}): expected "
            f"{WEIGHTS_PATTERN}"
        )
    raise FileNotFoundError(f"{folder}: no model here (expected a folder with {WEIGHTS_PATTERN})")
