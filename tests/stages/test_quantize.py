"""What a model is calibrated on, and how each method is called."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stages import quantize
from stages.lib.core.paths import DIFFICULTY, MODELS, PASSAGES, TRAINING
from stages.lib.core.schema import Passage, Prompting
from stages.lib.core.tables import write_parquet
from stages.lib.params.load import load_params
from stages.lib.prompts.tokenize import tokenize
from tests.lib.sft.test_batches import example
from tests.rows import make_difficulty
from tests.stages.conftest import Change

GPTQ = {"method": "gptq", "parent": "adaptive", "bits": 4, "calibration_seed": 1}
SPECS: dict[str, dict[str, Any]] = {
    "training": GPTQ | {"calibrate_on": "training"},
    "difficulty": GPTQ | {"calibrate_on": "difficulty"},
    "text": GPTQ | {"calibrate_on": "text"},
    "rtn": {"method": "rtn", "parent": "adaptive", "bits": 3},
    "nf4": {"method": "nf4", "parent": "adaptive", "bits": 4},
}
PROMPTINGS: tuple[Prompting, ...] = ("cot", "pot")
EXAMPLES = [
    replace(example(number), prompting=prompting) for number in (0, 1) for prompting in PROMPTINGS
]
# Of each problem, the base model fails with one prompting.
PASS_RATES: dict[tuple[str, Prompting], float] = {
    ("p0", "cot"): 1.0,
    ("p0", "pot"): 0.0,
    ("p1", "cot"): 0.0,
    ("p1", "pot"): 1.0,
}


@pytest.fixture
def calls(change: Change, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Enter a folder with a model and its examples; return what the quantizers are called with."""
    change(
        {
            "quantize.models": SPECS,
            "quantize.calibration": {"examples": 4, "max_length": 8},
            "evaluate.models": {"base": [0]},
            "analyze.compare": [["base", "base"]],
        }
    )
    MODELS.mkdir(parents=True)
    (MODELS / "adaptive").symlink_to(tiny_base)
    write_parquet(TRAINING / "adaptive.parquet", EXAMPLES)
    rows = [
        make_difficulty(problem, rate, prompting=prompting)
        for (problem, prompting), rate in PASS_RATES.items()
    ]
    write_parquet(DIFFICULTY, rows)
    write_parquet(PASSAGES, [Passage("A long passage."), Passage("Short.")])
    recorded: list[dict[str, Any]] = []

    def by_grid(parent: Path, out: Path, **options: Any) -> None:
        recorded.append({"parent": parent, "out": out} | options)

    def by_library(parent: Path, out: Path, config: Any) -> None:
        recorded.append({"parent": parent, "out": out, "config": config})

    monkeypatch.setattr(quantize, "quantize_gptq_or_rtn", by_grid)
    monkeypatch.setattr(quantize, "quantize_bitsandbytes", by_library)
    return recorded


@pytest.mark.parametrize(("name", "chosen"), [("training", {0, 1, 2, 3}), ("difficulty", {1, 2})])
def test_a_model_is_calibrated_on_its_examples_or_on_those_that_are_failed(
    calls: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, name: str, chosen: set[int]
) -> None:
    quantize.main(name)
    prompts = load_params().prompts
    texts = [tokenize(EXAMPLES[index], tokenizer, prompts).ids[:8] for index in chosen]
    (call,) = calls
    assert sorted(call["calibration"]) == sorted(texts)
    assert (call["bits"], call["out"]) == (4, MODELS / name)


def test_passages_are_cut_to_the_same_length(
    calls: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast
) -> None:
    quantize.main("text")
    (call,) = calls
    texts = sorted(str(tokenizer.decode(ids)) for ids in call["calibration"])
    assert texts == ["A long p", "Short."]


def test_rounding_and_bitsandbytes_need_no_calibration(calls: list[dict[str, Any]]) -> None:
    quantize.main("rtn")
    quantize.main("nf4")
    rounded, floats = calls
    assert (rounded["bits"], rounded["calibration"]) == (3, None)
    assert floats["config"].bnb_4bit_quant_type == "nf4"


def test_an_unknown_model_is_named(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"^quantize\.models: 'nobody': expected one of \['trai"):
        quantize.main("nobody")
    assert not calls
