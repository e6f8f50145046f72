"""The catalog's shapes give the published parameter counts, and agree with the files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GemmaConfig, GPT2Config, LlamaConfig, PreTrainedConfig

from stages.lib.models.loading import load_model
from stages.lib.params.load import load_params
from stages.lib.params.model_source import ModelSource, parse_source
from stages.lib.params.root import Params
from stages.lib.provenance import catalog
from tests.conftest import REPOSITORY

# As the models' cards and checkpoints have them.
PUBLISHED = {
    "EleutherAI/llemma_7b": 6_738_546_688,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "google/gemma-2b": 2_506_172_416,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "unsloth/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
}
DIMENSIONS: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 320,
}
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def test_shapes_give_the_published_numbers_of_parameters() -> None:
    assert {name: facts.shape.parameters() for name, facts in catalog.MODELS.items()} == PUBLISHED


def test_adapters_have_as_many_parameters_as_the_recipe_reports() -> None:
    # 9.8 M, 0.64% of what remains when each byte of NF4 counts once: its own report.
    shape = catalog.MODELS["google/gemma-2b"].shape
    adapters = shape.adapter_parameters(8, EVERY)
    assert adapters == 9_805_824
    in_bytes = shape.parameters() - shape.linear_parameters() / 2
    assert round(100 * adapters / (in_bytes + adapters), 2) == 0.64


def test_the_embedded_models_file_has_the_listed_shape() -> None:
    base = parse_source(load_params(REPOSITORY / "params.yaml").model.base)
    assert catalog.find_model_facts(base) == catalog.SMOLLM2
    unlisted = ModelSource(base.kind, base.location, sha256="0" * 64)
    assert catalog.find_shape(unlisted) == catalog.SMOLLM2.shape


def test_the_shape_is_read_from_a_models_own_files(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = catalog.find_shape(ModelSource("folder", str(tiny_base)))
    assert shape is not None
    model = load_model(tiny_base, torch.bfloat16)
    assert shape.parameters() == sum(weight.numel() for weight in model.parameters())
    # The same files in the Hub's cache.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshots = tmp_path / "models--someone--model" / "snapshots"
    snapshots.mkdir(parents=True)
    base = ModelSource("hub", "someone/model", revision="0123456789" * 4)
    assert catalog.find_shape(base) is None
    (snapshots / base.revision).symlink_to(tiny_base)
    assert catalog.find_shape(base) == shape
    assert catalog.find_shape(ModelSource("folder", str(tmp_path))) is None


CONFIGS: list[tuple[PreTrainedConfig, catalog.Shape | None]] = [
    (
        LlamaConfig(**DIMENSIONS, num_key_value_heads=2, head_dim=32, attention_bias=True),
        catalog.Shape(2, 64, 128, 4, 2, 32, 320, tied=False, qkv_bias=True),
    ),
    (LlamaConfig(**DIMENSIONS), catalog.Shape(2, 64, 128, 4, 4, 16, 320, tied=False)),
    (
        GemmaConfig(**DIMENSIONS, num_key_value_heads=1, head_dim=16),
        catalog.Shape(2, 64, 128, 4, 1, 16, 320, tied=True),
    ),
    (GPT2Config(n_embd=64), None),
]


@pytest.mark.parametrize(("config", "expected"), CONFIGS)
def test_keys_that_a_config_leaves_out(
    config: PreTrainedConfig, expected: catalog.Shape | None, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    assert catalog.find_shape(ModelSource("folder", str(tmp_path))) == expected


def test_benchmarks_are_those_of_the_schema() -> None:
    schema = Params.model_json_schema()["$defs"]
    kinds = [
        schema[kind]["properties"]["source"]["enum"] for kind in ("PackagedSource", "SuiteSource")
    ]
    assert set(catalog.BENCHMARKS) == set().union(*kinds)
