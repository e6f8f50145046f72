"""What trackers log of a training on a tiny model, also of one that was killed."""

import json
import os
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import PreTrainedTokenizerFast
from wandb.proto import wandb_internal_pb2

from stages.lib.core.paths import TRACKING, TRAINING_LOGS
from stages.lib.params.training import Tracker
from stages.lib.sft.validation import rows_by_step
from stages.lib.training import tracking
from stages.lib.training.tracking import PROJECT, Run, Tracking
from tests.conftest import one_turn
from tests.lib.sft.test_batches import settings
from tests.lib.sft.test_trainer import Beginnings, Trained, same_params, trained

MEASURING: dict[str, Any] = {"validation": 3, "evaluate_every": 4, "save_every": 2}
VALIDATION = [one_turn([20, 21], [60, 61], 1.0)]
LIVE = TRAINING_LOGS / "uniform"
NAMES = ["grad_norm", "learning_rate", "loss", "validation_loss", "validation_perplexity"]

Rows = list[dict[str, float]]


def tracking_of(*trackers: Tracker) -> Tracking:
    run = Run("uniform", "0123456789abcdef", settings(tracking=list(trackers)))
    return Tracking(run, rows_by_step)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter an empty folder, without an account and without a repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def train(tokenizer: PreTrainedTokenizerFast, beginnings: Beginnings) -> Trained:
    with closing(tracking_of(*get_args(Tracker))) as trackers:
        return trained(
            tokenizer,
            Path("checkpoints"),
            validation_examples=VALIDATION,
            callbacks=[trackers, beginnings],
            **MEASURING,
        )


def measured(rows: Rows) -> dict[str, list[tuple[int, float]]]:
    """Return what was measured, by name, as pairs of step and value."""
    return {
        name: [(int(row["step"]), row[name]) for row in rows if row[name] is not None]
        for name in NAMES
    }


def dvclive_files() -> dict[str, bytes]:
    files = [path for path in LIVE.rglob("*") if path.is_file()]
    return {str(path.relative_to(LIVE)): path.read_bytes() for path in files}


def of_dvclive() -> dict[str, list[tuple[int, float]]]:
    tables: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((LIVE / "plots/metrics").iterdir()):
        header, *lines = [line.split("\t") for line in path.read_text().splitlines()]
        assert header == ["step", path.stem]
        tables[path.stem] = [(int(step), float(value)) for step, value in lines]
    return tables


def of_tensorboard() -> Iterator[dict[str, list[tuple[int, float]]]]:
    for folder in (TRACKING / "tensorboard").iterdir():
        events = EventAccumulator(str(folder)).Reload()
        names = events.Tags()["scalars"]
        yield {
            name: [(event.step, event.value) for event in events.Scalars(name)] for name in names
        }


def of_trackio() -> Iterator[dict[str, list[tuple[int, float]]]]:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    for run in Api().runs(PROJECT):
        metrics: dict[str, list[tuple[int, float]]] = {}
        for row in SQLiteStorage.get_logs(PROJECT, run.name, run_id=run.id):
            for name in NAMES:
                if name in row:
                    metrics.setdefault(name, []).append((row["step"], row[name]))
        yield metrics


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
        metrics: dict[str, list[tuple[int, float]]] = {}
        for data in wandb_records(path.read_bytes()):
            record: Any = vars(wandb_internal_pb2)["Record"]()
            record.ParseFromString(data)
            items = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            for name in NAMES:
                if name in items:
                    metrics.setdefault(name, []).append((items["_step"], items[name]))
        yield metrics


def test_every_tracker_has_every_step_once_also_of_a_killed_training_and_changes_nothing(
    tokenizer: PreTrainedTokenizerFast, whole_run: Trained
) -> None:
    beginnings = Beginnings()
    tracked = train(tokenizer, beginnings)
    assert same_params(tracked.params, whole_run.params)
    assert [row["loss"] for row in tracked.log] == [row["loss"] for row in whole_run.log]
    expected = measured(tracked.log)
    in_32_bit = {
        name: [(step, pytest.approx(value, rel=1e-6)) for step, value in pairs]
        for name, pairs in expected.items()
    }
    files = dvclive_files()
    for n_attempts in (1, 2):
        assert of_dvclive() == expected
        assert sorted(files) == ["metrics.json", *(f"plots/metrics/{name}.tsv" for name in NAMES)]
        assert json.loads(files["metrics.json"]) == tracked.log[-1]
        assert list(of_tensorboard()) == [in_32_bit]
        assert list(of_trackio()) == [expected]
        assert list(of_wandb()) == [expected] * n_attempts
        if n_attempts == 1:
            # As if it had been killed in step 4.
            (Path("checkpoints") / "checkpoint-4" / "complete").unlink()
            train(tokenizer, beginnings)
            assert beginnings.steps == [0, 2]
    assert dvclive_files() == files
    assert sorted(path.name for path in TRACKING.iterdir()) == ["tensorboard", "trackio", "wandb"]


@pytest.fixture
def out_of_reach(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log in to a server of wandb's that nothing listens for."""
    wandb.teardown()  # what it has read of the environment before
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "_WANDB_TIMEOUT_S", 0.3)
    yield
    wandb.teardown()


def log_one_step(*trackers: Tracker, is_main: bool = True) -> None:
    """Log a step as the trainer would."""
    state: Any = SimpleNamespace(is_world_process_zero=is_main, global_step=1, log_history=[])
    with closing(tracking_of(*trackers)) as callback:
        callback.on_train_begin(None, state, None)
        state.log_history.append({"step": 1, "loss": 1.0, "learning_rate": 0.1, "grad_norm": 1.0})
        callback.on_log(None, state, None, logs=state.log_history[-1])


@pytest.mark.usefixtures("out_of_reach")
def test_without_a_way_to_its_server_wandb_goes_on_offline(
    capfd: pytest.CaptureFixture[str],
) -> None:
    log_one_step("wandb")
    # The test above reads such a file; wandb may still be writing this one.
    assert len(list((TRACKING / "wandb").glob("offline-run-*/*.wandb"))) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if "kept offline" in line]
    assert len(lines) == 1
    assert lines[0].startswith("tracking: wandb: uniform-01234567 is kept offline, ")


def test_dvclive_alone_leaves_no_other_files() -> None:
    log_one_step()
    assert of_dvclive() == {
        "grad_norm": [(1, 1.0)],
        "learning_rate": [(1, 0.1)],
        "loss": [(1, 1.0)],
    }
    assert [path.name for path in Path.cwd().iterdir()] == ["reports"]


def test_only_the_main_process_logs() -> None:
    log_one_step("tensorboard", is_main=False)
    assert not any(Path.cwd().iterdir())
