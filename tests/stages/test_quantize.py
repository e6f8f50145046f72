"""What GPTQ is calibrated on, and how each rounding is called."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from stages import quantize
from stages import round as round_stage
from stages.lib.core.paths import MODELS, PASSAGES, TRAINING
from stages.lib.core.schema import Passage
from stages.lib.core.tables import write_parquet
from stages.lib.params.load import load_params
from stages.lib.prompts.tokenize import tokenize
from tests.lib.sft.test_batches import example
from tests.stages.conftest import Change

EXAMPLES = [
    replace(example(number), repeats=repeats) for number, repeats in ((0, 1), (1, 0), (2, 3))
]
OWN = "own.parquet"


def gptq(parent: str, calibrate_on: str) -> dict[str, Any]:
    return {"parent": parent, "bits": 4, "calibration_seed": 1, "calibrate_on": calibrate_on}


@pytest.fixture
def calls(change: Change, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Enter a folder with a model and its examples; return what the quantizers are called with."""
    change(
        {
            "quantize.gptq": {
                "training": gptq("adaptive", "data/training/adaptive.parquet"),
                "other": gptq("base", "data/training/adaptive.parquet"),
                "text": gptq("base", str(PASSAGES)),
                "own": gptq("base", OWN),
            },
            "quantize.rounded": {
                "rtn": {"method": "rtn", "parent": "base", "bits": 3},
                "nf4": {"method": "nf4", "parent": "base", "bits": 4},
            },
            "quantize.calibration": {"examples": 4, "max_length": 8},
            "evaluate.models": {"base": [0]},
            "analyze.compare": [["base", "base"]],
        }
    )
    MODELS.mkdir(parents=True)
    for name in ("base", "adaptive"):
        (MODELS / name).symlink_to(tiny_base)
    write_parquet(TRAINING / "adaptive.parquet", EXAMPLES)
    write_parquet(PASSAGES, [Passage("A long passage."), Passage("Short.")])
    Dataset.from_dict({"id": [1], "text": ["My own."]}).to_parquet(OWN)
    recorded: list[dict[str, Any]] = []

    def by_grid(parent: Path, out: Path, **options: Any) -> None:
        recorded.append({"parent": parent, "out": out} | options)

    def by_library(parent: Path, out: Path, config: Any) -> None:
        recorded.append({"parent": parent, "out": out, "config": config})

    monkeypatch.setattr(quantize, "quantize_gptq_or_rtn", by_grid)
    monkeypatch.setattr(round_stage, "quantize_gptq_or_rtn", by_grid)
    monkeypatch.setattr(round_stage, "quantize_bitsandbytes", by_library)
    return recorded


@pytest.mark.parametrize(("name", "parent"), [("training", "adaptive"), ("other", "base")])
def test_a_model_is_calibrated_on_the_examples_that_an_arm_repeats(
    calls: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, name: str, parent: str
) -> None:
    quantize.main(name)
    prompts = load_params().prompts
    texts = [tokenize(EXAMPLES[index], tokenizer, prompts).ids[:8] for index in (0, 2)]
    (call,) = calls
    assert sorted(call["calibration"]) == sorted(texts)
    assert (call["bits"], call["parent"], call["out"]) == (4, MODELS / parent, MODELS / name)


@pytest.mark.parametrize(
    ("name", "expected"), [("text", ["A long p", "Short."]), ("own", ["My own."])]
)
def test_texts_are_cut_to_the_same_length(
    calls: list[dict[str, Any]],
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    expected: list[str],
) -> None:
    quantize.main(name)
    (call,) = calls
    assert sorted(str(tokenizer.decode(ids)) for ids in call["calibration"]) == expected


def test_a_row_without_a_text_is_named(calls: list[dict[str, Any]]) -> None:
    Dataset.from_dict({"text": ["My own.", None]}).to_parquet(OWN)
    with pytest.raises(ValueError, match=r"^own\.parquet: row 1: text: None: expected text$"):
        quantize.main("own")
    Dataset.from_dict({"question": ["My own."]}).to_parquet(OWN)
    with pytest.raises(ValueError, match=r"^own\.parquet: .*text"):
        quantize.main("own")
    assert not calls


def test_rounding_and_bitsandbytes_need_no_calibration(calls: list[dict[str, Any]]) -> None:
    round_stage.main("rtn")
    round_stage.main("nf4")
    rounded, floats = calls
    assert (rounded["bits"], rounded["calibration"]) == (3, None)
    assert (rounded["parent"], floats["parent"]) == (MODELS / "base", MODELS / "base")
    assert floats["config"].bnb_4bit_quant_type == "nf4"


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (quantize.main, r"^quantize\.gptq: 'nobody': expected one of \['trai"),
        (round_stage.main, r"^quantize\.rounded: 'nobody': expected one of \['rtn"),
    ],
)
def test_an_unknown_model_is_named(
    calls: list[dict[str, Any]], main: Callable[[str], None], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        main("nobody")
    assert not calls
