"""Fetch a model or an adapter from elsewhere; convert models to bf16 safetensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

import gguf
import torch
from huggingface_hub import snapshot_download
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stages.lib.core.files import file_sha256
from stages.lib.models.fingerprint import save_atomically
from stages.lib.models.folder import ADAPTER_CONFIG, ADAPTER_FOLDER, ADAPTER_WEIGHTS
from stages.lib.models.loading import load_model, load_tokenizer
from stages.lib.params.model_source import ModelSource

# The files to fetch from the Hub: weights, configuration, tokenizer; no pickles, no code.
MODEL_FILES = ["model*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
ADAPTER_FILES = [
    f"{folder}{name}"
    for folder in ("", f"{ADAPTER_FOLDER}/")
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
]


def fetch_model(source: ModelSource, out: Path, *, key: str) -> None:
    """Save a model as bf16 safetensors with its tokenizer and chat template.

    ``key`` is the parameter that names it, for errors.
    """
    model, tokenizer = _load(source, key)
    with save_atomically(out) as tmp:
        model.save_pretrained(tmp)
        tokenizer.save_pretrained(tmp)


def adapter_folder(source: ModelSource, *, key: str) -> Path:
    """Return the folder of a PEFT adapter: the source's own, or ``adapter`` inside it.

    The second is where a trained arm keeps its adapter. Raises OSError if there is none.
    """
    if source.kind == "hub":
        with _fetched(source, key, ADAPTER_FILES) as folder:
            return _find_adapter(folder, key)
    return _find_adapter(Path(source.location), key)


def _find_adapter(root: Path, key: str) -> Path:
    for folder in (root, root / ADAPTER_FOLDER):
        if all((folder / name).exists() for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)):
            return folder
    raise FileNotFoundError(
        f"{key}: {root}: no adapter here (expected {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS})"
    )


def _load(source: ModelSource, key: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if source.kind == "gguf":
        return _load_gguf(Path(source.location), source.sha256)
    if source.kind == "folder":
        return _load_folder(Path(source.location))
    with _fetched(source, key, MODEL_FILES) as folder:
        return _load_folder(folder)


def _load_folder(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(folder, torch.bfloat16), load_tokenizer(folder)


@contextmanager
def _fetched(source: ModelSource, key: str, patterns: list[str]) -> Iterator[Path]:
    """Yield the folder of a Hub commit; without network access, that of the Hub's cache.

    Raises OSError with the command that fetches it, if files are missing there.
    """
    location, revision = source.location, source.revision
    try:
        yield Path(snapshot_download(location, revision=revision, allow_patterns=patterns))
    except OSError as error:
        raise OSError(
            f"{key}: {location}@{revision}: not whole in the Hub's cache nor within reach "
            "(pickles are not fetched); with network access, run "
            f"`hf download {location} --revision {revision}` first"
        ) from error


def _load_gguf(path: Path, expected: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    sha256 = file_sha256(path)
    if sha256 != expected:
        raise ValueError(f"{path}: damaged or other file: sha256 {sha256}, expected {expected}")
    # transformers would read the file three times, and make the table of tensor names for every
    # module of the model.
    with (
        patch.object(gguf, "GGUFReader", cache(gguf.GGUFReader)),
        patch.object(gguf, "get_tensor_name_map", cache(gguf.get_tensor_name_map)),
    ):
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
