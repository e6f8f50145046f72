"""The stage that trains by GRPO, on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages import grpo
from stages.lib.core.files import read_json
from stages.lib.core.paths import (
    ACCELERATE,
    CHECKPOINTS,
    DIFFICULTY,
    MODELS,
    TRAIN_PROBLEMS,
    TRAINING,
    TRAINING_LOGS,
)
from stages.lib.core.schema import Example, Problem
from stages.lib.core.tables import read_parquet, write_parquet
from stages.lib.grpo.policy import ScheduledTrainer
from stages.lib.grpo.rollouts import ROLLOUTS
from stages.lib.grpo.schedule import plan_rounds
from stages.lib.models.fingerprint import model_fingerprint
from stages.lib.models.loading import load_model, load_tokenizer
from tests import fixed_completions
from tests.arms import GRPO, LORA
from tests.interrupted import MARK, resumed
from tests.rows import make_difficulty
from tests.stages.conftest import Change
from tests.stages.test_figures import problem
from tests.stages.test_train import run

# The base never solved the first two, and always the last.
RATES = [0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
SPEC = GRPO | {"parent": "base", "zero_variance_weight": 0.0}
DDP = {"strategy": "ddp", "processes": 2}
LAUNCHER = (
    *("-m", "accelerate.commands.launch"),
    *("--config_file", str(ACCELERATE / "ddp.yaml"), "--num_processes", "2"),
)
REPOSITORY = Path(grpo.__file__).parents[1]


@pytest.fixture
def ready(change: Change, terse: Path) -> Change:
    """Return how to change the parameters of a folder with a base model and problems."""
    shutil.copytree(terse, MODELS / "base")
    problems = [problem("sum", number, 1) for number in range(len(RATES))]
    write_parquet(TRAIN_PROBLEMS, problems)
    rows = [
        make_difficulty(row.id, rate, source=row.source)
        for row, rate in zip(problems, RATES, strict=True)
    ]
    write_parquet(DIFFICULTY, rows[::-1])
    change(
        {
            "prompts.system": "",
            "grpo.steps": 2,
            "grpo.prompts_per_step": 3,
            "grpo.generations": 2,
            "grpo.max_tokens": 4,
            "grpo.save_every": 1,
            "grpo.models": {"grpo": SPEC, "lora": SPEC | {"tuning": LORA}},
        }
    )
    return change


def rollouts(name: str) -> list[dict[str, Any]]:
    text = (ROLLOUTS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def column(name: str, metric: str) -> list[float]:
    table = TRAINING_LOGS / name / "plots" / "metrics" / f"{metric}.tsv"
    return [float(line.split("\t")[1]) for line in table.read_text().splitlines()[1:]]


@pytest.mark.parametrize("name", ["grpo", "lora"])
def test_a_model_is_trained_with_its_log_and_the_problems_it_sampled(
    ready: Change, name: str
) -> None:
    grpo.main(name)
    tables = {path.stem: path for path in (TRAINING_LOGS / name / "plots/metrics").iterdir()}
    assert set(tables) == {
        *("reward", "answer_reward", "format_reward", "kl", "answer_tokens", "cut"),
        *("groups_without_signal", "replaced_groups", "generated_tokens", "clipped"),
        *("entropy", "loss", "learning_rate"),
    }
    for path in tables.values():
        steps = [line.split("\t")[0] for line in path.read_text().splitlines()]
        assert steps == ["step", "1", "2"]
    assert read_json(TRAINING_LOGS / name / "metrics.json")["step"] == 2
    # Both rounds sample the three problems that the base solved sometimes.
    examples = read_parquet(TRAINING / f"{name}.parquet", Example)
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    expected = {problems[index].id: 2 for index in (2, 3, 4)}
    assert {row.problem_id: row.repeats for row in examples} == expected
    about = read_json(TRAINING_LOGS / f"{name}.json")
    assert (about["problems"], about["answers"], about["parent"]) == (3, 12, "base")
    rows = rollouts(name)
    assert about["generated_tokens"] == sum(row["tokens"] for row in rows)
    assert about["replaced_groups"] == 0
    assert {row["problem_id"] for row in rows} == set(expected)
    assert (about["share"] == 1) == (name == "grpo")
    before, after = (load_tokenizer(MODELS / model) for model in ("base", name))
    assert after.get_vocab() == before.get_vocab()
    old, new = (load_model(MODELS / model, torch.bfloat16) for model in ("base", name))
    weights = new.state_dict()
    assert any(not torch.equal(value, weights[key]) for key, value in old.state_dict().items())
    assert new.config.use_cache == old.config.use_cache
    assert not CHECKPOINTS.joinpath(name).exists()


def test_an_empty_pool_stops_the_stage_in_one_line(ready: Change) -> None:
    ready({"grpo.prompts_per_step": 4})
    with pytest.raises(ValueError, match=r"^grpo.prompts_per_step: 4: expected at most 3, "):
        grpo.main("grpo")


def test_an_unknown_name_is_refused(ready: Change) -> None:
    with pytest.raises(ValueError, match=r"^grpo.models: 'x': expected one of \['grpo', 'lora'\]"):
        grpo.main("x")


def test_a_users_reward_has_its_column_and_its_errors_come_before_the_model(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    own = {"function": "own_rewards:brief", "weight": 0.5, "options": {"most": 2}}
    ready({"grpo.rewards": {"answer": 1.0, "format": 0.2, "brief": own}, "grpo.steps": 1})
    with monkeypatch.context() as patched:
        patched.setattr(grpo, "load_tokenizer", None)
        message = r"^grpo\.rewards\.brief\.function: 'own_rewards:brief': cannot be imported: "
        with pytest.raises(ValueError, match=message):
            grpo.main("grpo")
    Path("own_rewards.py").write_text(
        "def brief(text, problem, ended, most):\n    return float(len(text) <= most)\n"
    )
    grpo.main("grpo")
    rows = rollouts("grpo")
    assert len(rows) == 6
    for row in rows:
        assert row["rewards"]["brief"] == (len(row["text"]) <= 2)
        parts = row["rewards"]
        total = parts["answer"] + 0.2 * parts["format"] + 0.5 * parts["brief"]
        assert row["reward"] == pytest.approx(total)
    mean = np.mean([row["rewards"]["brief"] for row in rows])
    assert column("grpo", "brief_reward") == [pytest.approx(mean)]


def launched(ready: Change, **changes: Any) -> None:
    """Prepare a folder for runs of two processes, each with two problems of a round."""
    shutil.copytree(REPOSITORY / ACCELERATE, ACCELERATE)
    write_parquet(
        DIFFICULTY,
        [
            make_difficulty(row.id, 0.5, source=row.source)
            for row in read_parquet(TRAIN_PROBLEMS, Problem)
        ],
    )
    values = {"prompts_per_step": 4, "micro_batches": 2, "launch": DDP} | changes
    ready({f"grpo.{name}": value for name, value in values.items()})


def test_two_processes_share_each_round_as_planned_also_if_they_are_stopped(
    ready: Change,
) -> None:
    launched(ready, steps=12, save_every=2, max_resamples=1, logged_answers=99)
    status, terminal = run(*LAUNCHER, "-m", "tests.interrupted", "grpo", arm="grpo")
    assert status == 0, terminal
    assert terminal.count("stopped by SIGTERM after step 3; ") == 1
    stopped = resumed("grpo")
    assert model_fingerprint(MODELS / stopped) == model_fingerprint(MODELS / "grpo")
    assert rollouts(stopped) == rollouts("grpo")
    first, *rest = column(stopped, "loss")
    assert first == MARK  # the second run began where the first had stopped
    assert rest == column("grpo", "loss")[1:]
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    planned = plan_rounds(
        [0.5] * 6,
        rounds=12,
        per_round=4,
        zero_variance_weight=0.0,
        rng=np.random.default_rng(SPEC["seed"]),
    )
    rows = rollouts("grpo")
    replaced = 0
    for step, chosen in enumerate(planned):
        trained = [row["problem_id"] for row in rows[8 * step : 8 * step + 8 : 2]]
        expected = [problems[index].id for index in chosen]
        differing = [
            (own, plan) for own, plan in zip(trained, expected, strict=True) if own != plan
        ]
        assert not {own for own, _ in differing} & set(expected)
        assert len(differing) == column("grpo", "replaced_groups")[step]
        replaced += len(differing)
    assert 0 < replaced < 24


def test_two_processes_learn_from_the_same_completions_as_one(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(ready, steps=3, loss_type="dapo", generations=4, learning_rate=1e-3)
    ready({"grpo.models": {"two": SPEC, "one": SPEC}})
    status, terminal = run(*LAUNCHER, "-m", "tests.fixed_completions", arm="two")
    assert status == 0, terminal
    ready({"grpo.launch": None, "grpo.micro_batches": 1})
    monkeypatch.setattr(ScheduledTrainer, "_sample", fixed_completions.sample)
    grpo.main("one")
    assert rollouts("one") == rollouts("two")
    assert any(row["advantage"] for row in rollouts("one"))
    for metric in ("reward", "loss", "kl", "entropy", "generated_tokens"):
        assert column("two", metric) == pytest.approx(column("one", metric), rel=1e-3, abs=1e-5)
    models = [load_model(MODELS / name, torch.float32) for name in ("base", "one", "two")]
    base, one, two = (
        torch.cat([param.detach().flatten() for param in model.parameters()]) for model in models
    )
    learned, difference = (one - base).abs().mean(), (two - one).abs().mean()
    assert learned > 5e-4
    assert difference < 0.02 * learned


def test_vllm_samples_from_the_weights_of_each_step_with_qlora(ready: Change) -> None:
    """The engine loads the parent, which is not rounded to NF4, and gets the policy's weights."""
    tuning = LORA | {"method": "qlora", "targets": ["q_proj", "o_proj", "down_proj"]}
    ready(
        {
            "grpo.models": {"qlora": SPEC | {"tuning": tuning}},
            "grpo.steps": 5,
            "grpo.learning_rate": 1e-1,
            "grpo.generations": 8,
            "grpo.max_tokens": 8,
        }
    )
    status, terminal = run("-m", "tests.colocated", arm="qlora")
    assert status == 0, terminal
    # So far from the parent that log-probabilities of its weights would differ by some 0.2.
    assert max(column("qlora", "kl")) > 0.02
    # In bf16, log-probabilities of about -6 are rounded to 0.03.
    assert max(column("qlora", "sampler_gap")) < 0.03
    assert max(column("qlora", "reward")) > 0


def test_processes_that_train_alone_are_an_error(
    ready: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(ready)
    # As if launched, but by nothing that accelerate knows.
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"^grpo\.launch: 2 processes: 1 train together$"):
        grpo.main("grpo")
