"""What trackers are told of a training on a tiny model, also of one that was killed."""

import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import PreTrainedTokenizerFast, TrainerCallback
from wandb.proto import wandb_internal_pb2

from stages.lib.core.paths import TRACKING
from stages.lib.params.training import Tracker
from stages.lib.sft.validation import rows_by_step
from stages.lib.training import tracking
from stages.lib.training.tracking import PROJECT, Run, Tracking
from tests.conftest import one_turn
from tests.lib.sft.test_trainer import Beginnings, trained

RUN = Run("uniform", "0123456789abcdef", {"steps": 6})
MEASURING: dict[str, Any] = {"validation": 3, "evaluate_every": 4, "save_every": 2}
HELD_OUT = [one_turn([20, 21], [60, 61], 1.0)]
NAMES = ["grad_norm", "held_out_loss", "held_out_perplexity", "learning_rate", "loss"]

Rows = list[dict[str, float]]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter an empty folder, without an account and without a repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [one for one in os.environ if one.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def train(
    tokenizer: PreTrainedTokenizerFast,
    checkpoints: str,
    *trackers: Tracker,
    beside: Sequence[TrainerCallback] = (),
) -> tuple[Rows, list[torch.Tensor]]:
    with closing(Tracking(Path("live"), trackers, RUN, rows_by_step)) as told:
        watching = [told, *beside]
        return trained(
            tokenizer, Path(checkpoints), held_out=HELD_OUT, watching=watching, **MEASURING
        )


def train_killed(tokenizer: PreTrainedTokenizerFast, *trackers: Tracker) -> None:
    """Train again what trained to its end, as if it had been killed in step 4."""
    (Path("checkpoints") / "checkpoint-4" / "complete").unlink()
    begun = Beginnings()
    train(tokenizer, "checkpoints", *trackers, beside=[begun])
    assert begun.steps == [2]


def measured(rows: Rows) -> dict[str, list[tuple[int, float]]]:
    """Return what was measured, by name, as pairs of step and value."""
    return {
        name: [(int(row["step"]), row[name]) for row in rows if row[name] is not None]
        for name in NAMES
    }


def dvclive_files() -> dict[str, bytes]:
    files = [path for path in Path("live").rglob("*") if path.is_file()]
    return {str(path.relative_to("live")): path.read_bytes() for path in files}


def test_dvclive_has_every_step_once_also_of_a_killed_training(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows, _ = train(tokenizer, "checkpoints")
    files = dvclive_files()
    assert sorted(files) == ["metrics.json", *(f"plots/metrics/{name}.tsv" for name in NAMES)]
    for name, pairs in measured(rows).items():
        lines = [
            line.split("\t") for line in files[f"plots/metrics/{name}.tsv"].decode().split("\n")
        ]
        assert lines[0] == ["step", name]
        assert [(int(step), float(value)) for step, value in lines[1:-1]] == pairs
    assert json.loads(files["metrics.json"]) == rows[-1]
    train_killed(tokenizer)
    assert dvclive_files() == files
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["checkpoints", "live"]


def of_tensorboard() -> Iterator[dict[str, list[tuple[int, float]]]]:
    for folder in (TRACKING / "tensorboard").iterdir():
        events = EventAccumulator(str(folder)).Reload()
        names = events.Tags()["scalars"]
        yield {name: [(one.step, one.value) for one in events.Scalars(name)] for name in names}


def of_trackio() -> Iterator[dict[str, list[tuple[int, float]]]]:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    for run in Api().runs(PROJECT):
        found: dict[str, list[tuple[int, float]]] = {}
        for row in SQLiteStorage.get_logs(PROJECT, run.name, run_id=run.id):
            for name in NAMES:
                if name in row:
                    found.setdefault(name, []).append((row["step"], row[name]))
        yield found


def wandb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a run's file: blocks of 32 KiB, as LevelDB's log has them."""
    at, record = 7, b""
    while at < len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def of_wandb() -> Iterator[dict[str, list[tuple[int, float]]]]:
    for path in sorted((TRACKING / "wandb").glob("offline-run-*/*.wandb")):
        found: dict[str, list[tuple[int, float]]] = {}
        for data in wandb_records(path.read_bytes()):
            record: Any = vars(wandb_internal_pb2)["Record"]()
            record.ParseFromString(data)
            items = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            for name in NAMES:
                if name in items:
                    found.setdefault(name, []).append((items["_step"], items[name]))
        yield found


def test_every_tracker_is_told_the_same_without_an_account_and_changes_nothing(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows, params = train(tokenizer, "untracked")
    tracked_rows, tracked = train(tokenizer, "checkpoints", *get_args(Tracker))
    assert tracked_rows == rows
    assert all(torch.equal(one, other) for one, other in zip(params, tracked, strict=True))
    expected = measured(rows)
    in_32_bit = {
        name: [(step, pytest.approx(value, rel=1e-6)) for step, value in pairs]
        for name, pairs in expected.items()
    }
    assert sorted(path.name for path in TRACKING.iterdir()) == ["tensorboard", "trackio", "wandb"]
    assert list(of_tensorboard()) == [in_32_bit]
    assert list(of_trackio()) == [expected]
    assert list(of_wandb()) == [expected]
    train_killed(tokenizer, *get_args(Tracker))
    assert list(of_tensorboard()) == [in_32_bit]
    assert list(of_trackio()) == [expected]
    assert list(of_wandb()) == [expected, expected]


@pytest.fixture
def out_of_reach(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log in to a server of wandb's that nothing listens for."""
    wandb.teardown()  # what it has read of the environment before
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "_WANDB_PATIENCE_S", 2.0)
    yield
    wandb.teardown()


@pytest.mark.usefixtures("out_of_reach")
def test_without_a_way_to_its_server_wandb_goes_on_offline(
    tokenizer: PreTrainedTokenizerFast, capfd: pytest.CaptureFixture[str]
) -> None:
    rows, _ = train(tokenizer, "checkpoints", "wandb")
    assert len(rows) == 6
    # The test above reads such a file; wandb may still be writing this one.
    assert len(list((TRACKING / "wandb").glob("offline-run-*/*.wandb"))) == 1
    said = [line for line in capfd.readouterr().err.splitlines() if "kept offline" in line]
    assert len(said) == 1
    assert said[0].startswith(f"tracking: wandb: {RUN.name} is kept offline, ")


def test_only_the_main_process_logs() -> None:
    other = SimpleNamespace(is_world_process_zero=False, global_step=1, log_history=[])
    with closing(Tracking(Path("live"), ["tensorboard"], RUN, rows_by_step)) as watching:
        watching.on_train_begin(None, other, None)
        other.log_history.append({"step": 1, "loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0})
        watching.on_log(None, other, None, logs=other.log_history[-1])
    assert not any(Path.cwd().iterdir())
