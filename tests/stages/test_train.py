"""The training stage, on a tiny model."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages import train
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    ACCELERATE,
    CHECKPOINTS,
    CONVERSATIONS,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Conversation, Turn
from stages.lib.core.tables import write_parquet
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_model
from stages.lib.sft import trainer
from tests.interrupted import MARK, mark_checkpoints, resumed, terminating_bar
from tests.lib.sft.test_batches import NINE, example
from tests.lib.training.test_adapters import LORA
from tests.stages.conftest import Change
from tests.stages.test_figures import problem

PATIENCE_S = 600
REPOSITORY = Path(train.__file__).parents[1]


@pytest.fixture
def ready(change: Change, tiny_base: Path) -> Change:
    """Return how to change the parameters of a folder with a base model and two arms."""
    shutil.copytree(tiny_base, MODELS / "base")
    for arm in ("uniform", "adaptive"):
        write_parquet(TRAINING / f"{arm}.parquet", NINE)
    change(
        {
            "prompts.system": "",
            "train.tokens_per_step": 40,
            "train.max_length": 64,
            "train.save_every": 1,
            "weigh.arms.adaptive.train": {"tuning": LORA.model_dump()},
        }
    )
    return change


def test_each_arm_has_its_tuning_and_unused_checkpoints_are_named(
    ready: Change, tokenizer: PreTrainedTokenizerFast, capfd: pytest.CaptureFixture[str]
) -> None:
    unused = CHECKPOINTS / "uniform" / "0123456789abcdef"
    unused.mkdir(parents=True)
    ready({"train.steps": 1})
    for arm in ("uniform", "adaptive"):
        train.main(arm)
    counts = {arm: read_json(TRAINING_LOGS / f"{arm}.json") for arm in ("uniform", "adaptive")}
    assert counts["uniform"]["method"] == "full"
    assert counts["uniform"]["share"] == 1
    assert counts["uniform"]["examples"] >= counts["uniform"]["distinct_examples"] > 0
    assert counts["adaptive"]["method"] == "lora"
    assert counts["adaptive"]["trainable"] == 2560
    terminal = capfd.readouterr().err
    assert "train adaptive: lora, 2,560 of 97,344 parameters (2.63%)" in terminal
    assert f"uniform: ignored: from other parameters or data: {unused}" in terminal
    logs = ["adaptive", "adaptive.json", "uniform", "uniform.json"]
    assert sorted(path.name for path in TRAINING_LOGS.iterdir()) == logs
    full, lora = ({path.name for path in (MODELS / arm).iterdir()} for arm in counts)
    assert lora == full | {"adapter"}


def test_validation_examples_are_chosen_among_all_problems_and_conversations(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [replace(problem("s", number, 1), question=f"{number}?") for number in range(9)]
    write_parquet(TRAIN_PROBLEMS, problems)
    talk = [Conversation(f"c{n}", "talk", "", [Turn(f"{n + 20}?", "yes")]) for n in range(4)]
    write_parquet(CONVERSATIONS, talk)
    # Of the three problems for validation (3, 6 and 7), this arm holds one.
    write_parquet(TRAINING / "adaptive.parquet", [example(number) for number in (0, 1, 2, 7)])
    write_parquet(TRAINING / "talk.parquet", [replace(example(0), turns=row.turns) for row in talk])
    ready(
        {
            "train.steps": 1,
            "train.validation": 3,
            "train.evaluate_every": 1,
            # The stage reads the examples, not the strategy.
            "weigh.arms.talk": {"strategy": "uniform"},
        }
    )
    counts: list[int] = []
    original = trainer.train

    def counting(*arguments: Any, **options: Any) -> trainer.TrainOutput:
        counts.append(len(arguments[6]))
        return original(*arguments, **options)

    monkeypatch.setattr(trainer, "train", counting)
    for arm in ("uniform", "adaptive", "talk"):
        train.main(arm)
        assert "validation_loss" in read_json(TRAINING_LOGS / f"{arm}.json")
    assert counts == [3, 1, 3]


@pytest.mark.usefixtures("ready")
def test_an_unknown_arm_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^weigh\.arms: 'x': expected one of \['uniform', 'ad"):
        train.main("x")


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_a_weight_below_0_or_not_a_number_is_named(ready: Change, weight: float) -> None:
    path = TRAINING / "uniform.parquet"
    table = pq.read_table(path).to_pylist()
    table[3]["weight"] = weight
    pq.write_table(pa.Table.from_pylist(table), path)
    with pytest.raises(ValueError, match=rf"uniform\.parquet: row 3: weight: {weight}: ") as error:
        train.main("uniform")
    assert "\n" not in str(error.value)


def logged(arm: str, metric: str) -> list[float]:
    """Return what an arm's table of a metric has, by step."""
    table = TRAINING_LOGS / arm / "plots" / "metrics" / f"{metric}.tsv"
    return [float(line.split("\t")[1]) for line in table.read_text().splitlines()[1:]]


def losses(arm: str) -> list[float]:
    return logged(arm, "loss")


def test_after_sigterm_a_run_ends_with_the_same_model(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready({"train.steps": 5, "train.save_every": 4})
    with monkeypatch.context() as patched:
        patched.setattr(train.console, "progress_bar", terminating_bar)
        with pytest.raises(InterruptedError, match="^stopped by SIGTERM after step 3; "):
            train.main("adaptive")
    assert not (MODELS / "adaptive").exists()
    mark_checkpoints("adaptive")
    train.main("adaptive")
    assert losses("adaptive")[0] == MARK
    after_the_stop = model_fingerprint(MODELS / "adaptive")
    assert not any(CHECKPOINTS.glob("adaptive/*"))
    train.main("adaptive")
    assert losses("adaptive")[0] != MARK
    assert model_fingerprint(MODELS / "adaptive") == after_the_stop


def run(*module: str, terminate: bool = False, arm: str = "uniform") -> tuple[int, str]:
    """Train an arm in other processes; send SIGTERM once there is a checkpoint."""
    process = subprocess.Popen(
        [sys.executable, *module, arm],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while terminate and not any(CHECKPOINTS.glob(f"{arm}/*/checkpoint-*/complete")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if terminate:
        process.send_signal(signal.SIGTERM)
    _, terminal = process.communicate(timeout=PATIENCE_S)
    return process.returncode, terminal


FSDP = ("-m", "accelerate.commands.launch", "--config_file", str(ACCELERATE / "fsdp2.yaml"))
SHARDED = (*FSDP, "--num_processes", "2", "-m", "tests.sharded")
WITHOUT_DROPOUT = LORA.model_copy(update={"dropout": 0.0})


def sharded(ready: Change, monkeypatch: pytest.MonkeyPatch, **train_changes: Any) -> None:
    """Train ``adaptive`` in this process, in bf16, and let ``uniform`` be trained in two."""
    shutil.copytree(REPOSITORY / ACCELERATE, ACCELERATE)
    changes = {"steps": 8, "save_every": 2, "micro_batches": 4} | train_changes
    ready({f"train.{name}": value for name, value in changes.items()})
    ready({"weigh.arms.adaptive.train": {}})
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    train.main("adaptive")
    ready({"train.launch": {"strategy": "fsdp2", "processes": 2}})


def train_in_two_processes() -> list[dict[str, Any]]:
    """Train ``uniform`` with a stop and without, to the same bytes; return the processes' facts."""
    status, terminal = run(*SHARDED)
    assert status == 0, terminal
    assert terminal.count("stopped by SIGTERM after step 3; ") == 1
    assert losses(resumed("uniform"))[0] == MARK
    assert losses("uniform")[0] != MARK
    fingerprints = [model_fingerprint(MODELS / arm) for arm in ("uniform", resumed("uniform"))]
    assert fingerprints[0] == fingerprints[1]
    facts = [read_json(Path(f"sharding-rank{rank}.json")) for rank in (0, 1)]
    assert facts[0]["checkpoints"]
    for names in facts[0]["checkpoints"]:
        assert names == [".metadata", "__0_0.distcp", "__1_0.distcp"]
    return facts


def assert_trained_alike(metrics: dict[str, float]) -> None:
    """Compare both arms: what was logged from the second step on, and the models."""
    for metric, tolerance in metrics.items():
        alone, split = (logged(arm, metric) for arm in ("adaptive", "uniform"))
        assert split[1:] == pytest.approx(alone[1:], rel=tolerance), metric
    whole, split = (load_model(MODELS / arm, torch.float32) for arm in ("adaptive", "uniform"))
    for (name, param), other in zip(whole.named_parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(param, other, rtol=0.02, atol=4e-3, msg=name)


def test_two_processes_that_split_a_model_train_as_one_and_resume_to_the_same_bytes(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [replace(problem("s", number, 1), question=f"{number}?") for number in range(9)]
    write_parquet(TRAIN_PROBLEMS, problems)
    write_parquet(CONVERSATIONS, [Conversation("c", "talk", "", [Turn("20?", "yes")])])
    sharded(ready, monkeypatch, validation=1, evaluate_every=4)
    facts = train_in_two_processes()
    # One process sums the gradients of micro-batches in bf16, two in 32 bits.
    assert_trained_alike({"loss": 5e-4, "grad_norm": 5e-3, "validation_loss": 5e-4})
    # Three runs read it to train, and the two that end once more to save.
    assert [fact["read"] for fact in facts] == [["base"] * 5, []]
    for held in facts[0]["micro_batches"] + facts[1]["micro_batches"]:
        assert held == {
            "split": True,
            "types": ["torch.float32"],
            "frozen": [],
            "computed_in": ["torch.bfloat16"],
            "reduced_in": ["torch.float32"],
            "whole_gradients": 0,
            "optimizer": "AdamW",
        }


def test_two_processes_that_split_a_model_with_adapters_train_as_one(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = WITHOUT_DROPOUT.model_dump()
    sharded(ready, monkeypatch, tuning=tuning, gradient_checkpointing=True)
    facts = train_in_two_processes()
    assert_trained_alike({"loss": 5e-4, "grad_norm": 2e-2})
    held = facts[1]["micro_batches"][-1]
    assert (held["types"], held["frozen"]) == (["torch.float32"], ["torch.bfloat16"])
    assert held["split"] and not held["whole_gradients"]
