"""The training stage, on a tiny model."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerFast

from stages import train
from stages.lib.files import read_json
from stages.lib.models import fingerprint
from stages.lib.paths import CHECKPOINTS, MODELS, TRAINING, TRAINING_LOGS
from stages.lib.records import write_parquet
from tests.lib.test_packing import example
from tests.lib.test_tuning import LORA
from tests.stages.conftest import Change

PATIENCE_S = 120


@pytest.fixture
def ready(change: Change, tiny_base: Path) -> Change:
    """Return how to change the parameters of a folder with a base model and two arms."""
    shutil.copytree(tiny_base, MODELS / "base")
    for arm in ("uniform", "adaptive"):
        write_parquet(TRAINING / f"{arm}.parquet", [example(number) for number in range(9)])
    change(
        {
            "prompts.system": "",
            "train.tokens_per_step": 40,
            "train.max_length": 64,
            "train.save_every": 1,
            "train.by_arm": {"adaptive": LORA.model_dump()},
        }
    )
    return change


def test_each_arm_is_tuned_in_its_own_way(
    ready: Change, tokenizer: PreTrainedTokenizerFast, capfd: pytest.CaptureFixture[str]
) -> None:
    for arm in ("uniform", "adaptive"):
        train.main(arm)
    counts = {arm: read_json(TRAINING_LOGS / f"{arm}.json") for arm in ("uniform", "adaptive")}
    assert counts["uniform"]["method"] == "full"
    assert counts["uniform"]["share"] == 1
    assert counts["adaptive"]["method"] == "lora"
    assert counts["adaptive"]["trainable"] == 2560
    assert "train adaptive: lora, 2,560 of 97,344 parameters (2.63%)" in capfd.readouterr().err
    of_both = ["adaptive", "adaptive.json", "uniform", "uniform.json"]
    assert sorted(path.name for path in TRAINING_LOGS.iterdir()) == of_both
    files = [sorted(path.name for path in (MODELS / arm).iterdir()) for arm in counts]
    assert files[0] == files[1]


def test_a_checkpoint_of_other_parameters_is_said_not_to_be_used(
    ready: Change, capfd: pytest.CaptureFixture[str]
) -> None:
    other = CHECKPOINTS / "uniform" / "0123456789abcdef"
    other.mkdir(parents=True)
    ready({"train.steps": 1})
    train.main("uniform")
    assert f"uniform: not used, of other parameters or data: {other}" in capfd.readouterr().err


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_a_weight_below_0_or_not_a_number_is_named(ready: Change, weight: float) -> None:
    path = TRAINING / "uniform.parquet"
    table = pq.read_table(path).to_pylist()
    table[3]["weight"] = weight
    pq.write_table(pa.Table.from_pylist(table), path)
    with pytest.raises(ValueError, match=rf"uniform\.parquet: row 3: weight: {weight}: ") as error:
        train.main("uniform")
    assert "\n" not in str(error.value)


def run(*, terminate: bool) -> tuple[int, str]:
    """Run the stage as its own process; end it with SIGTERM once it has a checkpoint."""
    running = subprocess.Popen(
        [sys.executable, "-m", "stages.train", "adaptive"],
        env=os.environ | {"PYTHONPATH": str(Path(train.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while terminate and not any(CHECKPOINTS.glob("adaptive/*/checkpoint-*/complete")):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if terminate:
        running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=PATIENCE_S)
    return running.returncode, said


def test_after_sigterm_a_run_ends_with_the_same_model(ready: Change) -> None:
    ready({"train.steps": 40, "train.save_every": 3})
    status, said = run(terminate=True)
    assert status == 1
    last = [line for line in said.splitlines() if "SIGTERM" in line]
    assert last[0].startswith("train-adaptive: stopped by SIGTERM after step ")
    assert not (MODELS / "adaptive").exists()
    assert run(terminate=False)[0] == 0
    resumed = fingerprint(MODELS / "adaptive")
    assert not any(CHECKPOINTS.glob("adaptive/*"))
    train.main("adaptive")
    assert fingerprint(MODELS / "adaptive") == resumed
