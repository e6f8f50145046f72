"""The cards of models."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from stages import card
from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.speeds import SPEEDS
from stages.lib.core.files import write_json
from stages.lib.core.paths import (
    ARM_METRICS,
    CARDS,
    LIKELIHOOD_REPORTS,
    METRICS,
    MODEL_REPORTS,
    TABLES,
    TRAINING_LOGS,
)
from stages.lib.core.schema import STATUSES
from tests.arms import GRPO, LORA, ROWS
from tests.stages.conftest import Change

MODELS_EVALUATED = ("base", "uniform", "adaptive", "adaptive-gptq4")
SYSTEMS = ("base", "base-1shot", "uniform", "adaptive", "adaptive-gptq4")
COUNTS = {"method": "full", "kept_step": 4, "trainable": 1000, "total": 2000, "share": 0.5}
ARM_COUNTS = {"problems": 18, "examples": 36, "missing": 0}


def around(column: str, value: float) -> dict[str, float]:
    """Return a value with an interval that reaches 0.1 to either side."""
    return {column: value, "low": round(value - 0.1, 3), "high": round(value + 0.1, 3)}


def comparison(first: str, second: str, difference: float, p: float) -> dict[str, Any]:
    row = {"benchmark": "ladder", "first": first, "second": second, "answer_mode": "cot", "n": 6}
    evidence = {"p_holm": p, "p_sources": None, "discordant": 0.5, "equivalent_within": 0.2}
    return row | around("difference", difference) | evidence


def write_model(name: str) -> None:
    report = {"fingerprint": "f" * 16, "weight_bytes": 2_500_000}
    write_json(MODEL_REPORTS / f"{name}.json", report)
    write_json(LIKELIHOOD_REPORTS / f"{name}.json", {"held_out_tokens": 99})


@pytest.fixture
def measured(change: Change) -> Change:
    """Write the reports of other stages; return how to change the parameters."""
    Path("base").mkdir()
    Path("base", "README.md").write_text("---\nlicense: mit\n---\n")
    models = {name: [0, 1] if name == "base" else [0] for name in MODELS_EVALUATED}
    pairs = [["adaptive", "uniform"], ["adaptive-gptq4", "adaptive"]]
    change({"model.base": "folder:base", "evaluate.models": models, "analyze.compare": pairs})
    no_counts = dict.fromkeys((*STATUSES, "follow_up", "first_option"), 0)
    perplexity = {"perplexity": 1.5, "perplexity_low": 1.25, "perplexity_high": 1.7504}
    sizes = {"bits": 16, "bytes": 9} | dict.fromkeys(SPEEDS)
    tables: dict[str, list[dict[str, Any]]] = {
        "accuracy": [
            {"benchmark": "ladder", "system": system, "answer_mode": mode, "n": 6}
            | around("accuracy", 0.25)
            for system in SYSTEMS
            for mode in ANSWER_MODES
        ],
        "comparisons": [
            comparison("adaptive", "uniform", 0.15, 0.2),
            comparison("adaptive-gptq4", "adaptive", -0.05, 1.0),
        ],
        "statuses": [
            {"benchmark": "ladder", "system": system, "prompting": "cot", "cut": number} | no_counts
            for number, system in enumerate(SYSTEMS)
        ],
        # The last is the model of ``add_grpo``.
        "models": [{"model": name} | perplexity | sizes for name in (*MODELS_EVALUATED, "grpo")],
    }
    TABLES.mkdir(parents=True)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(TABLES / f"{name}.csv", index=False)
    write_json(METRICS / "data.json", {"dropped_for_overlap": {"ladder": 0, "gsm8k": 2}})
    for arm in ("uniform", "adaptive"):
        write_json(TRAINING_LOGS / f"{arm}.json", COUNTS)
        write_json(ARM_METRICS / f"{arm}.json", ARM_COUNTS)
    for model in MODELS_EVALUATED:
        write_model(model)
    return change


def read_card(model: str) -> str:
    return (CARDS / f"{model}.md").read_text(encoding="utf-8")


def test_the_front_matter_is_what_the_hub_reads(measured: Change) -> None:
    card.main()
    data = ModelCard.load(CARDS / "adaptive-gptq4.md").data.to_dict()
    assert (data["license"], data["library_name"]) == ("mit", "transformers")
    assert data["pipeline_tag"] == "text-generation"
    assert data["tags"][-2:] == ["gptq", "4-bit"]
    assert (data["language"], data["base_model_relation"]) == ("en", "quantized")
    assert not {"base_model", "datasets"} & set(data)
    (results,) = data["model-index"][0]["results"]
    assert results["dataset"] == {"name": "ladder", "type": "ladder"}
    names = [metric["name"].partition(", ")[2] for metric in results["metrics"]]
    assert names == ["CoT", "PoT", "PoT‖CoT"]
    assert results["metrics"][0]["value"] == 0.25
    assert results["metrics"][0]["args"] == {"problems": 6, "interval": [0.15, 0.35], "level": 0.95}


LINES = {
    "adaptive": [
        "; harder problems have higher levels. |",
        "| arm | `adaptive`: Every example ⌊1 + 1 · level⌋ times per epoch; harder problems ",
        "| tuning | full; 1,000 of 2,000 parameters (50.00%) |",
        "| training | 4 steps of 600 supervised tokens, 2,400 in all; checkpoint: step 4 |",
        "| its license | mit (from its own files) |",
        "18 problems in 36 examples (CoT and PoT): 6 problems of each of the 3 rungs ",
        "2 more were dropped for sharing words in a row with a benchmark.",
        "| ladder | 0 | CoT | 6 | 25.0 | 15.0 to 35.0 |",
        "| ladder | uniform | CoT | 15.0 | 5.0 to 25.0 | 0.200 | not shown to differ",
        "| ladder | adaptive-gptq4 | CoT | 5.0 | −5.0 to 15.0 | 1.000 | not shown to differ |",
        "Perplexity of 99 tokens of solutions of `ladder`: 1.500 (95% interval 1.250 to 1.750).",
    ],
    "uniform": ["| ladder | adaptive | CoT | −15.0 | −25.0 to −5.0 | 0.200 | not shown to differ"],
    "adaptive-gptq4": [
        "| quantization | of `adaptive`: GPTQ, 4 bits, group size 32, symmetric, ",
        "| weights | 2.5 MB; fingerprint `ffffffffffffffff` |",
        "- 4 answers reached the token limit",
    ],
}


def test_every_trained_or_quantized_model_gets_a_card_of_what_was_measured(
    measured: Change,
) -> None:
    card.main()
    assert {path.name for path in CARDS.iterdir()} == {f"{model}.md" for model in LINES}
    for model, lines in LINES.items():
        assert [line for line in lines if line not in read_card(model)] == []


def add_grpo(measured: Change, parent: str, **changes: Any) -> None:
    """Add a model trained by GRPO."""
    compare = {"analyze.compare": [["grpo", "uniform"]]}
    measured({"grpo.models": {"grpo": GRPO | {"parent": parent}}} | compare | changes)
    counts = COUNTS | {"parent": parent, "problems": 7, "answers": 1200}
    write_json(TRAINING_LOGS / "grpo.json", counts)
    write_model("grpo")


@pytest.mark.parametrize("parent", ["uniform", "base"])
def test_a_grpo_model_gets_a_card(measured: Change, parent: str) -> None:
    quantized = {"adaptive-gptq4": {"parent": "grpo", "method": "rtn", "bits": 4}}
    models = {name: [0] for name in ("base", "uniform", "grpo", "adaptive-gptq4")}
    changes = {"quantize.gptq": {}, "quantize.rounded": quantized, "evaluate.models": models}
    add_grpo(measured, parent, **changes)
    card.main()
    for name in ("grpo", "adaptive-gptq4"):
        text = read_card(name)
        assert f"| GRPO | from `{parent}`, full: 20 steps, 1,200 answers to 7 pro" in text
        arm = "| arm | `uniform`: Every example once per epoch. |"
        assert (arm in text) == (parent == "uniform")
        assert "None" not in text
    assert "| quantization | of `grpo`: round to nearest, 4 bits" in read_card("adaptive-gptq4")


def test_a_model_of_conversations_and_its_grpo_model(measured: Change) -> None:
    changes = {
        "prepare.train": [{"source": "ladder", "per_rung": 6}, ROWS],
        "sample.k": 0,
        "weigh.arms": {"uniform": {"strategy": "conversations", "sources": ["talk"]}},
        "quantize.gptq": {},
        "evaluate.models": {"base": [0], "uniform": [0], "grpo": [0]},
    }
    add_grpo(measured, "uniform", **changes)
    card.main()
    for name in ("uniform", "grpo"):
        text = read_card(name)
        assert "36 conversations: talk (`talk.jsonl`, " in text
        assert ("GRPO uses problems: 6 problems of" in text) == (name == "grpo")
        assert "base model fine-tuned on conversations" in text
        assert "hard problems" not in text
        assert "same problems with the same" not in text
    assert "on mathematics problems" in read_card("grpo")


@pytest.mark.parametrize(("k", "by_difficulty"), [(4, True), (0, False)])
def test_arms_differ_by_difficulty_only_where_it_was_measured(
    measured: Change, k: int, by_difficulty: bool
) -> None:
    adaptive = {"strategy": "repeat", "base": 1, "factor": 1}
    if not k:
        adaptive = {"strategy": "focal", "gamma": 2.0, "level": "token"}
    uniform = {"strategy": "uniform"}
    measured({"sample.k": k, "weigh.arms": {"uniform": uniform, "adaptive": adaptive}})
    card.main()
    text = read_card("adaptive")
    assert (
        "trained on the same problems with the same number of\noptimizer" in text
    ) == by_difficulty
    assert ("tokens, and differ in how they treat hard problems. The" in text) == by_difficulty
    assert "whose arms are trained" in text


def test_a_card_says_how_many_runs_there_are(measured: Change) -> None:
    single = "- One training run: the intervals are over problems, not over seeds."
    several = "- One of 3 runs of `adaptive` (adaptive, base, base-1shot): the intervals here"
    runs = {"adaptive": ["adaptive", "base", "base-1shot"], "uniform": ["uniform"] * 3}
    for compared_runs in ({}, {"adaptive": runs["adaptive"]}, runs):
        measured({"analyze.runs": compared_runs})
        card.main()
        text = read_card("adaptive")
        # Runs of one system alone are compared with none.
        assert (several in text) == (compared_runs is runs)
        assert (single in text) == (compared_runs is not runs)
        assert single in read_card("adaptive-gptq4")


def test_adapters_a_hub_base_and_an_unknown_license_are_said(
    measured: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = "hub:org/name@" + "a" * 40
    measured({"model.base": base, "weigh.arms.uniform.train": {"tuning": LORA}})
    monkeypatch.setattr(card, "license_of", lambda base: "unknown")
    card.main()
    text = read_card("uniform")
    assert ModelCard(text).data.to_dict()["base_model"] == "org/name"
    assert "| its license | unknown (not named in its files) |" in text
    adapters = "r = 4, alpha = 8, dropout 0, on q_proj, down_proj; merged into the weights, "
    adapters += "and in `adapter/` without them, for the base model"
    assert f"| adapters | {adapters} |" in text


def test_the_front_matter_names_what_is_on_the_hub(measured: Change) -> None:
    commit = "a" * 40
    rows = ROWS | {"name": "math", "format": "math", "target": "problems"}
    rows |= {"path": f"hub:EleutherAI/hendrycks_math@{commit}/*/train-*.parquet", "license": "MIT"}
    base = f"hub:org/model@{commit}"
    measured({"model.base": base, "prepare.train": [rows]})
    card.main()
    data = {name: ModelCard.load(CARDS / f"{name}.md").data.to_dict() for name in LINES}
    assert data["adaptive"]["datasets"] == ["EleutherAI/hendrycks_math"]
    assert data["adaptive"]["base_model"] == data["adaptive-gptq4"]["base_model"] == "org/model"
    assert data["adaptive"]["base_model_relation"] == "finetune"
    # Of a published parent, a quantized model names that one.
    measured({"hub.push": {"repo": "me/uphill", "private": True}})
    card.main()
    quantized = ModelCard.load(CARDS / "adaptive-gptq4.md").data.to_dict()
    assert quantized["base_model"] == "me/uphill-adaptive"


def test_a_quantized_model_that_was_not_trained_here_gets_a_card(measured: Change) -> None:
    rounded = {"adaptive-gptq4": {"parent": "tuned", "method": "nf4", "bits": 4}}
    changes = {
        "model.adapted": {"tuned": {"parent": "base", "adapter": "folder:my/adapter"}},
        "quantize.gptq": {},
        "quantize.rounded": rounded,
        "evaluate.models": {name: [0] for name in ("base", "tuned", "adaptive-gptq4")},
        "analyze.compare": [["adaptive-gptq4", "tuned"]],
    }
    measured(changes)
    write_model("tuned")
    card.main()
    assert [path.name for path in CARDS.iterdir()] == ["adaptive-gptq4.md"]
    text = read_card("adaptive-gptq4")
    assert "The model `tuned`, quantized to 4 bits. It was not trained here." in text
    assert "| adapter | `folder:my/adapter`, merged into the weights |" in text
    assert "Training data" not in text
    assert "None" not in text
