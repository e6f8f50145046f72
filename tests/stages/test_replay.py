"""Online arms and their replays, as stages, on a tiny model."""

import shutil
from dataclasses import replace

import pytest

from stages import replay, train
from stages.lib.core.files import read_json
from stages.lib.core.paths import CHECKPOINTS, MODELS, TRAINING, TRAINING_LOGS
from stages.lib.core.tables import read_csv, write_parquet
from stages.lib.models.fingerprint import model_fingerprint
from tests import arms
from tests.interrupted import MARK, mark_checkpoints
from tests.lib.sft.test_batches import example
from tests.stages.conftest import Change
from tests.stages.test_train import REPOSITORY, losses, ready, run  # noqa: F401

FRONTIER = arms.FRONTIER | {"warmup_examples": 2, "half_life": 2.0}


@pytest.fixture
def online(ready: Change) -> Change:  # noqa: F811
    """Return how to change the parameters of a folder with a base model and an online arm."""
    examples = [replace(example(number), source=f"s{number % 3}") for number in range(45)]
    write_parquet(TRAINING / "frontier.parquet", examples)
    ready(
        {
            "train.steps": 8,
            "train.save_every": 8,
            "weigh.arms": {"frontier": FRONTIER},
            "weigh.replays": {
                "dealt": {"arm": "frontier", "cells": "dealt", "seed": 1},
                "yoked": {"arm": "frontier", "cells": "yoked", "seed": 1},
            },
            "quantize.gptq": {},
            "evaluate.models": {"frontier": [0], "dealt": [0], "yoked": [0]},
            "analyze.compare": [["frontier", "dealt"]],
        }
    )
    return ready


def weights(name: str) -> list[tuple[str, ...]]:
    """Return the weights of each cell over time, in the order of the cells."""
    rows = read_csv(TRAINING_LOGS / name / "allocation.csv")
    return [tuple(row["weight"] for row in rows[cell::3]) for cell in range(3)]


def test_replays_have_the_weights_of_the_online_arm_on_other_cells(online: Change) -> None:
    train.main("frontier")
    own = weights("frontier")
    assert len(own[0]) == 4
    assert len(set(own)) == 3
    n_equal = [len(set(cells)) for cells in zip(*own, strict=True)].index(3)
    assert read_json(TRAINING_LOGS / "frontier.json")["warmup_steps"] == 2 * n_equal > 0
    for name in ("dealt", "yoked"):
        replay.main(name)
        assert read_json(TRAINING_LOGS / f"{name}.json")["epochs"] > 0
        tokens = [int(row["tokens"]) for row in read_csv(TRAINING_LOGS / name / "allocation.csv")]
        assert sum(tokens) == 8 * 40
    assert sorted(weights("dealt")) == sorted(own)
    assert all(first != second for first, second in zip(weights("dealt"), own, strict=True))
    assert all(len(set(series)) == 1 for series in weights("yoked"))
    assert len({model_fingerprint(MODELS / name) for name in ("frontier", "dealt")}) == 2
    with pytest.raises(ValueError, match=r"^weigh\.replays: 'x': expected one of \['dealt', 'yo"):
        replay.main("x")


def test_a_warmup_that_does_not_end_is_named(
    online: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    online({"train.steps": 2, "train.save_every": 2})
    train.main("frontier")
    assert read_json(TRAINING_LOGS / "frontier.json")["warmup_steps"] == 2
    assert "frontier: train.steps: 2: the warm-up did not end" in capsys.readouterr().err


def test_two_processes_follow_the_same_mixture_also_if_they_are_stopped(
    online: Change, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Enough steps after the first checkpoint for the signal to come in time.
    online({"train.micro_batches": 2, "train.save_every": 3, "train.steps": 24})
    train.main("frontier")
    alone = read_csv(TRAINING_LOGS / "frontier" / "allocation.csv")
    losses_alone = losses("frontier")
    shutil.copytree(REPOSITORY / "conf", "conf")
    online({"train.launch": {"strategy": "ddp", "processes": 2}})
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    shutil.rmtree(MODELS / "frontier")
    shutil.rmtree(TRAINING_LOGS / "frontier")
    status, terminal = run("-m", "stages.train", terminate=True, arm="frontier")
    assert status == 1
    assert terminal.count("train-frontier: stopped by SIGTERM after step ") == 1
    mark_checkpoints("frontier")
    capfd.readouterr()
    train.main("frontier")
    first, *rest = losses("frontier")
    assert first == MARK  # the second run began where the first had stopped
    # Sums over two processes round otherwise than in one.
    assert rest == pytest.approx(losses_alone[1:], rel=1e-3)
    together = read_csv(TRAINING_LOGS / "frontier" / "allocation.csv")
    for row, other in zip(together, alone, strict=True):
        assert float(row["weight"]) == pytest.approx(float(other["weight"]), rel=1e-3)
        assert row["examples"] == other["examples"]
    assert capfd.readouterr().err.count("train frontier: full, ") == 1
    assert not any(CHECKPOINTS.glob("frontier/*"))
