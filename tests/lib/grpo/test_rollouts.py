"""What a run sampled: the first completions of each round, and counts of all."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.lib.grpo.rollouts import RolloutLog, Round


def log(limit: int, rounds: int) -> RolloutLog:
    rollouts = RolloutLog(limit)
    for number in range(rounds):
        rows = [{"step": number + 1, "text": f"é\n{sample}"} for sample in range(4)]
        rollouts.add(Round([number, 9], 6, 10, 1), rows)
    return rollouts


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (3, 3), (4, 4), (99, 4)])
def test_a_limited_number_of_each_round_is_kept(tmp_path: Path, limit: int, kept: int) -> None:
    path = tmp_path / "a.jsonl"
    log(limit, 2).write(path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1] * kept + [2] * kept
    assert [row["text"] for row in rows[:kept]] == [f"é\n{sample}" for sample in range(kept)]


def test_counts_are_over_all_rounds() -> None:
    rollouts = log(1, 3)
    assert rollouts.times_trained() == {0: 1, 9: 3, 1: 1, 2: 1}
    assert list(rollouts.times_trained()) == [0, 9, 1, 2]
    totals = [rollouts.total(count) for count in ("completions", "tokens", "replaced")]
    assert totals == [18, 30, 3]


@pytest.mark.parametrize("main", [True, False])
def test_the_first_process_writes_the_checkpoint_and_all_restore_it(
    tmp_path: Path, main: bool
) -> None:
    state: Any = SimpleNamespace(is_world_process_zero=main, global_step=2)
    checkpoint = tmp_path / "checkpoint-2"
    checkpoint.mkdir()
    rollouts = log(2, 2)
    rollouts.on_save(SimpleNamespace(output_dir=tmp_path), state, None)
    assert any(checkpoint.iterdir()) == main
    if not main:
        return
    later = log(2, 3)
    later.restore(checkpoint)
    assert later.rounds == rollouts.rounds
    for number, restored in enumerate((rollouts, later)):
        restored.write(tmp_path / f"{number}.jsonl")
    assert (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()
