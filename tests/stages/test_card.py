"""The cards of models, and what would be sent to the Hub."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from transformers import PreTrainedTokenizerFast

from stages import card
from stages.lib.core.files import read_json, write_json
from stages.lib.core.paths import ARM_METRICS, CARDS, METRICS, MODEL_REPORTS, MODELS, TABLES
from stages.lib.core.paths import TRAINING_LOGS as LOGS
from stages.lib.models.fingerprint import model_fingerprint
from tests.conftest import tiny_model
from tests.stages.conftest import Change
from tools import publish

MADE = ("base", "uniform", "adaptive", "adaptive-gptq4")
COUNTS = {"method": "full", "kept_step": 4, "trainable": 1000, "total": 2000, "share": 0.5}
TOLD = {"problems": 18, "examples": 36, "missing": 0}


def shares(system: str, answer_mode: str, accuracy: float) -> dict[str, Any]:
    low, high = round(accuracy - 0.1, 3), round(accuracy + 0.1, 3)
    row = {"benchmark": "ladder", "system": system, "answer_mode": answer_mode, "n": 6}
    return row | {"accuracy": accuracy, "standard_error": 0.05, "low": low, "high": high}


def compared(first: str, second: str, difference: float, p: float) -> dict[str, Any]:
    row = {"benchmark": "ladder", "first": first, "second": second, "answer_mode": "cot", "n": 6}
    interval = {"low": round(difference - 0.1, 3), "high": round(difference + 0.1, 3)}
    return row | interval | {"difference": difference, "discordant": 0.5, "p_holm": p}


@pytest.fixture
def measured(change: Change) -> Change:
    """Write what other stages measure; return how to change the parameters."""
    Path("base").mkdir()
    Path("base", "README.md").write_text("---\nlicense: mit\n---\n")
    change({"model.base": "folder:base"})
    systems = ["base", "base-1shot", "uniform", "adaptive", "adaptive-gptq4"]
    decodings = ["cot", "pot", "fallback", "both", "either"]
    statuses = [
        {"benchmark": "ladder", "system": system, "prompting": "cot", "cut": number}
        for number, system in enumerate(systems)
    ]
    tables = {
        "accuracy": [shares(one, name, 0.25) for one in systems for name in decodings],
        "comparisons": [
            compared("adaptive", "uniform", 0.15, 0.2),
            compared("adaptive-gptq4", "adaptive", -0.05, 1.0),
        ],
        "statuses": statuses,
        "models": [
            {"model": name, "perplexity": 1.5, "perplexity_low": 1.25, "perplexity_high": 1.7504}
            for name in (*MADE, "grpo")
        ],
    }
    TABLES.mkdir(parents=True)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_csv(TABLES / f"{name}.csv", index=False)
    write_json(METRICS / "data.json", {"dropped_for_overlap": {"ladder": 0, "gsm8k": 2}})
    for arm in ("uniform", "adaptive"):
        write_json(LOGS / f"{arm}.json", COUNTS)
        write_json(ARM_METRICS / f"{arm}.json", TOLD)
    for model in MADE:
        report = {"fingerprint": "f" * 16, "held_out_tokens": 99}
        write_json(MODEL_REPORTS / f"{model}.json", report | {"weight_bytes": 2_500_000})
    return change


def test_every_trained_or_quantized_model_gets_a_card(measured: Change) -> None:
    card.main()
    names = ["adaptive-gptq4.md", "adaptive.md", "uniform.md"]
    assert sorted(path.name for path in CARDS.iterdir()) == names


def test_the_front_matter_is_what_the_hub_reads(measured: Change) -> None:
    card.main()
    data = ModelCard.load(CARDS / "adaptive-gptq4.md").data.to_dict()
    assert (data["license"], data["library_name"]) == ("mit", "transformers")
    assert data["pipeline_tag"] == "text-generation"
    assert data["tags"][-2:] == ["gptq", "4-bit"]
    assert "base_model" not in data
    (results,) = data["model-index"][0]["results"]
    assert results["dataset"] == {"name": "ladder", "type": "ladder"}
    assert [one["name"].partition(", ")[2] for one in results["metrics"]] == [
        "CoT",
        "PoT",
        "PoT‖CoT",
    ]
    assert results["metrics"][0]["value"] == 0.25
    assert results["metrics"][0]["args"] == {"problems": 6, "interval": [0.15, 0.35], "level": 0.95}


SAID = [
    (
        "adaptive",
        "| arm | `adaptive`: Every example ⌊1 + 1 · level⌋ times a pass; harder is higher.",
    ),
    ("adaptive", "| tuning | full; 1,000 of 2,000 parameters (50.00%) |"),
    ("adaptive", "| training | 4 steps of 600 supervised tokens, 2,400 in all; kept: step 4 |"),
    ("adaptive", "| its license | mit, as its own files name it |"),
    ("adaptive", "18 problems in 36 examples (CoT and PoT): 6 problems of each of the 3 rungs "),
    ("adaptive", "2 more were dropped for sharing words in a row with a benchmark."),
    ("adaptive", "| ladder | 0 | CoT | 6 | 25.0 | 15.0 to 35.0 |"),
    (
        "adaptive",
        "| ladder | uniform | CoT | 15.0 | 5.0 to 25.0 | 0.200 | ahead (by the interval alone",
    ),
    ("adaptive", "| ladder | adaptive-gptq4 | CoT | 5.0 | −5.0 to 15.0 | 1.000 | within noise |"),
    ("uniform", "| ladder | adaptive | CoT | −15.0 | −25.0 to −5.0 | 0.200 | behind (by the i"),
    ("adaptive-gptq4", "| quantization | of `adaptive`: GPTQ, 4 bits, group size 32, symmetric, "),
    (
        "adaptive",
        "Perplexity of 99 tokens of solutions of `ladder`: 1.500 (95% interval 1.250 to 1.750).",
    ),
    ("adaptive-gptq4", "| weights | 2.5 MB; fingerprint `ffffffffffffffff` |"),
    ("adaptive-gptq4", "- 4 of its answers were cut at the limit of tokens"),
]


@pytest.mark.parametrize("parent", ["uniform", "base"])
def test_a_reinforced_model_gets_a_card(measured: Change, parent: str) -> None:
    made = {"parent": parent, "seed": 3, "tuning": {"method": "full"}, "zero_variance_weight": 0.0}
    measured(
        {
            "grpo.models": {"grpo": made},
            "quantize.models": {"adaptive-gptq4": {"parent": "grpo", "method": "rtn", "bits": 4}},
            "evaluate.models": {"base": [0], "uniform": [0], "grpo": [0], "adaptive-gptq4": [0]},
            "analyze.compare": [["grpo", "uniform"]],
        }
    )
    counts = {"method": "full", "trainable": 1, "total": 1, "share": 1.0}
    write_json(LOGS / "grpo.json", counts | {"parent": parent, "problems": 7, "answers": 1200})
    write_json(MODEL_REPORTS / "grpo.json", read_json(MODEL_REPORTS / "uniform.json"))
    card.main()
    for name in ("grpo", "adaptive-gptq4"):
        text = (CARDS / f"{name}.md").read_text()
        assert f"| GRPO | from `{parent}`, full: 20 steps, 1,200 answers to 7 pro" in text
        assert ("| arm | `uniform`: Every example once a pass. |" in text) == (parent == "uniform")
        assert "None" not in text
    assert "| quantization | of `grpo`: round to nearest, 4 bits" in text


CONVERSATIONS = {
    "source": "rows",
    "name": "talks",
    "format": "sharegpt",
    "path": "talks.jsonl",
    "license": "MIT",
    "fraction": 1,
    "exclude": [],
    "target": "conversations",
}


def test_a_model_of_conversations_and_what_grpo_made_of_it(measured: Change) -> None:
    tuning = {"method": "full"}
    made = {"parent": "uniform", "seed": 3, "tuning": tuning, "zero_variance_weight": 1.0}
    ladder = {"source": "ladder", "per_rung": 6}
    measured(
        {
            "prepare.train": [ladder, CONVERSATIONS],
            "sample.k": 0,
            "weigh.arms": {"uniform": {"strategy": "conversations", "sources": ["talks"]}},
            "grpo.models": {"grpo": made},
            "quantize.models": {},
            "evaluate.models": {"base": [0], "uniform": [0], "grpo": [0]},
            "analyze.compare": [["grpo", "uniform"]],
        }
    )
    counts = COUNTS | {"parent": "uniform", "problems": 7, "answers": 1200}
    write_json(LOGS / "grpo.json", counts)
    write_json(MODEL_REPORTS / "grpo.json", read_json(MODEL_REPORTS / "uniform.json"))
    card.main()
    taught, asked = "36 conversations: talks (`talks.jsonl`, ", "GRPO asked problems: 6 problems of"
    for name in ("uniform", "grpo"):
        text = (CARDS / f"{name}.md").read_text()
        assert taught in text
        assert (asked in text) == (name == "grpo")
        assert "base model fine-tuned on conversations" in text
        assert "hard problems" not in text
        assert "same problems with the same" not in text
    assert "of mathematics" in text


@pytest.mark.parametrize(("k", "said"), [(4, True), (0, False)])
def test_arms_differ_by_difficulty_only_where_it_was_measured(
    measured: Change, k: int, said: bool
) -> None:
    adaptive = {"strategy": "repeat", "base": 1, "factor": 1}
    if not k:
        adaptive = {"strategy": "focal", "gamma": 2.0, "level": "token"}
    uniform = {"strategy": "uniform"}
    measured({"sample.k": k, "weigh.arms": {"uniform": uniform, "adaptive": adaptive}})
    card.main()
    text = (CARDS / "adaptive.md").read_text()
    assert ("trained on the same problems with the same number of\noptimizer" in text) == said
    assert ("tokens, and differ in how they treat hard problems. The" in text) == said
    assert "whose arms are trained" in text


def test_a_card_says_how_many_runs_there_are(measured: Change) -> None:
    single = "- One training run: the intervals are over problems, not over seeds."
    several = "- One of 3 runs of `adaptive` (adaptive, base, base-1shot): the intervals here"
    runs = {"adaptive": ["adaptive", "base", "base-1shot"], "uniform": ["uniform"] * 3}
    for compared_runs in ({}, {"adaptive": runs["adaptive"]}, runs):
        measured({"analyze.runs": compared_runs})
        card.main()
        text = (CARDS / "adaptive.md").read_text()
        # Runs of one system alone are compared with none.
        assert (several in text) == (compared_runs is runs)
        assert (single in text) == (compared_runs is not runs)
        assert single in (CARDS / "adaptive-gptq4.md").read_text()


def test_the_text_says_what_was_measured(measured: Change) -> None:
    card.main()
    for model, line in SAID:
        assert line in (CARDS / f"{model}.md").read_text()


def test_adapters_a_hub_base_and_an_unknown_license_are_said(
    measured: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = {"method": "lora", "r": 8, "alpha": 16.0, "dropout": 0.0, "targets": ["q_proj"]}
    measured(
        {
            "model.base": "hub:org/name@" + "a" * 40,
            "train.tuning_by_arm": {"uniform": lora | {"optimizer": "adamw"}},
        }
    )
    monkeypatch.setattr(card, "license", lambda base: "unknown")
    card.main()
    text = (CARDS / "uniform.md").read_text()
    assert ModelCard(text).data.to_dict()["base_model"] == "org/name"
    assert "| its license | unknown, which its files do not name |" in text
    assert "| adapters | r = 8, alpha = 16, dropout 0, on q_proj; merged into the weights |" in text


class Recorder:
    """Stands for the Hub; remembers what it was asked."""

    def __init__(self) -> None:
        self.repos: list[tuple[str, bool]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.repos.append((repo, private))

    def create_commit(self, repo: str, operations: list[Any], *, commit_message: str) -> None:
        assert [(repo, True)] == self.repos
        assert commit_message.startswith("adaptive, ")
        for one in operations:
            with one.as_file() as stream:
                self.files[one.path_in_repo] = stream.read()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(publish, "HfApi", lambda: recorder)
    monkeypatch.setattr(publish, "get_token", lambda: "hf_token")
    return recorder


@pytest.fixture
def packaged(measured: Change, tokenizer: PreTrainedTokenizerFast) -> Change:
    """Make a model and its card, and turn publishing on."""
    tiny_model(tokenizer).save_pretrained(MODELS / "adaptive")
    report = {"fingerprint": model_fingerprint(MODELS / "adaptive"), "held_out_tokens": 99}
    write_json(MODEL_REPORTS / "adaptive.json", report | {"weight_bytes": 2_500_000})
    measured({"hub.push": {"repo": "org/uphill", "private": True}})
    card.main()
    return measured


def test_a_model_goes_to_the_hub_with_its_card(packaged: Change, hub: Recorder) -> None:
    publish.main("adaptive")
    assert hub.repos == [("org/uphill-adaptive", True)]
    folder = {path.name: path.read_bytes() for path in (MODELS / "adaptive").iterdir()}
    assert hub.files == folder | {"README.md": (CARDS / "adaptive.md").read_bytes()}
    assert "model.safetensors" in folder


def test_nothing_is_sent_by_default(packaged: Change, hub: Recorder) -> None:
    packaged({"hub.push": None})
    with pytest.raises(ValueError, match=r"hub\.push: null: expected \{repo: ORG/NAME"):
        publish.main("adaptive")
    assert not hub.repos


def test_nothing_is_sent_without_a_token(
    packaged: Change, hub: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "get_token", lambda: None)
    with pytest.raises(ValueError, match="no token: expected `hf auth login` first"):
        publish.main("adaptive")
    assert not hub.repos


def test_a_model_without_a_card_or_with_that_of_another_is_not_sent(
    packaged: Change, hub: Recorder, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ValueError, match="base: no card reports/cards/base.md"):
        publish.main("base")
    tiny_model(tokenizer, seed=1).save_pretrained(MODELS / "adaptive")
    with pytest.raises(ValueError, match=r"adaptive\.md: not of the model in data/models/adaptive"):
        publish.main("adaptive")
    assert not hub.repos
