"""The statistics of the miniature of GRPO, and the reward of an answer."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import grpo, grpo_rewards
from benchmarks.grpo import summarize_problems, summarize_rises, summarize_steps
from stages.lib.core.files import write_json
from stages.lib.params.grpo import Reward
from stages.lib.params.load import load_params
from tests.rows import make_problem


def table(before: list[float], after: list[float], sources: str = "aabb") -> pd.DataFrame:
    return pd.DataFrame({"source": list(sources), "before": before, "after": after})


def test_a_rise_comes_with_students_interval_over_the_seeds() -> None:
    # Rises of 0.1, 0.2 and 0.3: standard error 0.1 / sqrt(3), times 4.3027.
    result = summarize_steps([[0.0, 9.0, 9.0, 0.1], [0.2, 9.0, 9.0, 0.4], [0.4, 9.0, 9.0, 0.7]])
    assert result["rises"] == [0.1, 0.2, 0.3]
    assert (result["rise"], result["seeds_low"], result["seeds_high"]) == (0.2, -0.0484, 0.4484)
    assert (result["before"], result["after"]) == (0.2, 0.4)


def test_a_quarter_is_rounded_down() -> None:
    result = summarize_steps([[0.0] * 2 + [5.0] * 7 + [1.0] * 2] * 2)
    assert (result["rise"], result["seeds_low"], result["seeds_high"]) == (1.0, 1.0, 1.0)


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match="seeds: 1: expected at least 2"):
        summarize_rises([0.1], [0.2])


def test_problems_widen_the_interval_of_seeds_that_agree() -> None:
    # Every seed rises by 0.3, but one problem of four has all of it: its standard error over
    # problems is that of (1.2, 0, 0, 0), sqrt(0.36 / 4) = 0.3, with 3 degrees of freedom.
    rises_once = table([0.0] * 4, [1.2, 0.0, 0.0, 0.0], "abcd")
    result = summarize_problems([rises_once] * 3, 1.2)
    assert (result["seeds_low"], result["seeds_high"]) == (0.3, 0.3)
    assert (result["low"], result["high"]) == (round(0.3 - 0.3 * 3.18245, 4), 1.2)


def test_problems_are_compared_inside_sources_that_have_several() -> None:
    # All of the rise is between the sources, nothing inside them, the seeds agree but for 0.1.
    tables = [table([0.0] * 4, [rise, rise, 0.0, 0.0]) for rise in (0.4, 0.5, 0.6)]
    result = summarize_problems(tables, 1.0)
    assert (result["low"], result["high"]) == (result["seeds_low"], result["seeds_high"])
    mixed = [rises.assign(source=list("abcd")) for rises in tables]
    assert summarize_problems(mixed, 1.0)["low"] < result["low"]


def test_answers_earn_as_in_training() -> None:
    rewards = {"answer": Reward(weight=1.0), "format": Reward(weight=0.2)}
    settings = load_params().grpo.model_copy(update={"rewards": rewards})
    problem = make_problem("1", question="1 + 1", answer="2")
    answers = [("1 + 1 = 2. The answer is 2.", True), ("The answer is 3.", False)]
    result = grpo_rewards.mean_reward(problem, answers, settings, [])
    # Correct and whole: 1.2; wrong, and cut off behind its statement: 0.1.
    assert result == {"reward": pytest.approx((1.2 + 0.1) / 2), "correct": 0.5}


def test_kept_runs_are_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpo, "RESULTS", tmp_path)
    rewards = {"answer": {"weight": 1.0}, "format": {"weight": 0.2}}
    about = {"seconds": 1.0, "settings": {"rewards": rewards, "steps": 4}}
    for seed, rise in zip((1, 2, 3), (0.1, 0.2, 0.3), strict=True):
        both = [
            table([0.0] * 4, [gain] * 4).assign(set=kind)
            for kind, gain in (("asked", rise), ("unseen", rise / 2))
        ]
        pd.concat(both).to_csv(tmp_path / f"grpo-rewards-{seed}.csv", index=False)
        log = pd.DataFrame({"step": [1, 2, 3, 4], "reward": [0.0, 9.0, None, rise]})
        log.to_csv(tmp_path / f"grpo-{seed}.csv", index=False)
        write_json(tmp_path / f"grpo-{seed}.json", about)
    rises_by_set = grpo.summarize_runs((1, 2, 3))
    assert {kind: rises["rise"] for kind, rises in rises_by_set.items()} == {
        "asked": 0.2,
        "unseen": 0.1,
        "steps": 0.2,
    }
    write_json(tmp_path / "grpo-2.json", about | {"settings": {"steps": 5}})
    with pytest.raises(ValueError, match=r"seeds \[1, 2, 3\] ran with other settings"):
        grpo.summarize_runs((1, 2, 3))
