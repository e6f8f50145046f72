"""What the blocks of a study say, on made-up outcomes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import t as student

from stages.lib.analysis.seeds import compare_runs
from stages.lib.core.files import read_json, write_json
from tests.rows import make_record
from tools.study.blocks import Block, outcomes_of, read_blocks, write_block
from tools.study.endpoints import (
    Endpoint,
    cell_accuracies,
    compare,
    compute,
    endpoints,
    look_half_width,
    outcomes,
    planned_seeds,
    summaries,
    untrained_summaries,
)
from tools.study.spec import Dose, Study, VarianceLook

CELLS = {"a/cot": 0.9, "a/pot": 0.95, "b/cot": 0.4, "b/pot": 0.5, "c/cot": 0.3}
EASY = ["a/cot", "a/pot"]
STUDY = Study(
    recipe="study",
    seeds=[1, 2, 3, 4, 5, 6, 7, 8],
    look=VarianceLook(blocks=6, half_width=0.2, seeds=[9, 10]),
    candidate="frontier",
    baseline="uniform",
    control="dealt",
    easy=EASY,
    margin=0.06,
    level=0.95,
    least_blocks=6,
    dose=Dose(recipe="study-dose", seeds=[1, 2, 3]),
)


def block(seed: int, outcomes: dict[str, dict[str, str]], **changes: Any) -> Block:
    fields: dict[str, Any] = {
        "seed": seed,
        "commit": "c",
        "code": "x",
        "registration": "r",
        "cpu": "cpu",
        "problems": "p",
        "outcomes": outcomes,
        "reports": {
            name: {"supervised_tokens": 100, "processed_tokens": 200 + seed, "seconds": 1.5}
            for name in outcomes
        },
    }
    return Block(**(fields | changes))


def simulated(
    gains: dict[str, dict[str, float]], *, seeds: int = 8, n: int = 60, seed: int = 1
) -> list[Block]:
    """Return blocks in which problems differ, runs differ a little, and arms gain by stratum."""
    rng = np.random.default_rng(seed)
    hardness = {cell: rng.normal(0, 0.15, n) for cell in CELLS}
    blocks = []
    for number in range(1, seeds + 1):
        answers: dict[str, dict[str, str]] = {}
        for system, gain in gains.items():
            shift = rng.normal(0, 0.01)
            answers[system] = {}
            for cell, rate in CELLS.items():
                stratum = "easy" if cell in EASY else "hard"
                p = np.clip(rate + hardness[cell] + gain[stratum] + shift, 0, 1)
                digits = (rng.random(n) < p).astype(int)
                answers[system][cell] = "".join(map(str, digits))
        blocks.append(block(number, answers))
    return blocks


def gains(hard: float, easy: float, dealt: float = 0.0) -> dict[str, dict[str, float]]:
    none = {"hard": 0.0, "easy": 0.0}
    return {
        "uniform": none,
        "frontier": {"hard": hard, "easy": easy},
        "dealt": {"hard": dealt, "easy": 0.0},
    }


def verdicts(results: list[Endpoint]) -> list[str]:
    return [result.verdict for result in results]


def test_a_gain_on_hard_cells_without_a_loss_on_easy_ones_is_met() -> None:
    blocks = simulated(gains(0.12, 0.0))
    results = endpoints(STUDY, blocks)
    assert verdicts(results) == ["met", "met", "met"]
    x, y = (outcomes(STUDY, blocks, name, "hard") for name in ("frontier", "uniform"))
    assert x.shape == (8, 180)
    cells = np.repeat(["b/cot", "b/pot", "c/cot"], 60)
    assert results[0].comparison == compare_runs(x, y, cells, level=0.95)


def test_the_last_endpoint_is_tested_only_if_the_others_are_met() -> None:
    assert verdicts(endpoints(STUDY, simulated(gains(0.12, -0.15)))) == [
        "met",
        "not met",
        "not tested",
    ]
    assert verdicts(endpoints(STUDY, simulated(gains(0.0, 0.0))))[0] == "not met"
    assert verdicts(endpoints(STUDY, simulated(gains(0.12, 0.0, dealt=0.12)))) == [
        "met",
        "met",
        "not met",
    ]


def test_few_blocks_are_inconclusive() -> None:
    assert set(verdicts(endpoints(STUDY, simulated(gains(0.12, 0.0), seeds=5)))) == {"inconclusive"}


def test_further_blocks_are_planned_if_the_first_vary_too_much() -> None:
    wide = STUDY.look.model_copy(update={"half_width": 0.01})
    study = STUDY.model_copy(update={"look": wide})
    blocks = simulated(gains(0.12, 0.0))
    assert planned_seeds(STUDY, blocks) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert planned_seeds(study, blocks) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert planned_seeds(study, blocks[:6]) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    # Six blocks are looked at, whatever follows, and nothing before they are there.
    half_width = look_half_width(STUDY, blocks)
    assert half_width == look_half_width(STUDY, blocks[:6])
    first = compare(STUDY, blocks[:6], "frontier", "uniform", "hard")
    assert half_width == pytest.approx(first.high - first.difference)
    assert look_half_width(STUDY, blocks[:5]) is None
    assert planned_seeds(study, blocks[:5]) == planned_seeds(study, blocks[1:]) == study.seeds


@pytest.mark.parametrize(
    "change",
    [
        {"least_blocks": 9},
        {"look": {"blocks": 9, "half_width": 0.1, "seeds": [9]}},
        {"look": {"blocks": 6, "half_width": 0.1, "seeds": [8]}},
        {"seeds": [1, 2, 3, 4, 5, 6, 7, 7]},
    ],
)
def test_seeds_that_cannot_make_a_study_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="seeds"):
        Study.model_validate(STUDY.model_dump() | change)


def test_without_a_difference_success_is_rare() -> None:
    """Both endpoints at 2.5% one-sided, the first of them true in none of these data sets."""
    successes = sum(
        verdicts(endpoints(STUDY, simulated(gains(0.0, 0.0), seed=seed)))[:2] == ["met", "met"]
        for seed in range(60)
    )
    assert successes <= 5  # of 60: 1.5 expected, 5 or fewer in 99.6% of such tests


def test_the_compute_of_an_arm_is_the_median_over_its_runs() -> None:
    first, *others = compute(STUDY, simulated(gains(0.0, 0.0), seeds=3))
    assert first == {
        "system": "uniform",
        "supervised_tokens": 100,
        "processed_tokens": 202,
        "seconds": 1.5,
    }
    assert [row["system"] for row in others] == ["frontier", "dealt"]


def test_arms_are_summed_up_by_run() -> None:
    digits = {"uniform": "1100", "frontier": "1110", "dealt": "1000"}
    blocks = [
        block(seed, {name: {"a/cot": text, "b/cot": text} for name, text in digits.items()})
        for seed in (1, 2, 3)
    ]
    study = STUDY.model_copy(update={"easy": ["a/cot"]})
    rows = {(row.system, row.stratum): row for row in summaries(study, blocks)}
    (hard,) = (row for row in cell_accuracies(study, blocks) if row["stratum"] == "hard")
    assert hard == {
        "cell": "b/cot",
        "stratum": "hard",
        "uniform": 0.5,
        "frontier": 0.75,
        "dealt": 0.25,
    }
    assert rows["frontier", "hard"].by_run == [0.75, 0.75, 0.75]
    assert rows["uniform", "easy"].mean == 0.5
    assert rows["dealt", "hard"].run_sd == 0
    # The runs agree; of four problems, half solved, the variance of the mean is a twelfth.
    half = student.ppf(0.975, 3) / 12**0.5
    assert rows["uniform", "hard"].low == pytest.approx(max(0, 0.5 - half))
    assert rows["uniform", "hard"].high == pytest.approx(min(1, 0.5 + half))


def test_an_untrained_model_has_one_run() -> None:
    (made,) = simulated(gains(0.0, 0.0), seeds=1, n=4)
    answers = {"base-4shot": dict.fromkeys(made.outcomes["uniform"], "1000")}
    hard, easy = untrained_summaries(STUDY, [made], answers)
    assert (hard.system, hard.stratum, easy.stratum) == ("base-4shot", "hard", "easy")
    assert hard.by_run == [0.25]
    assert hard.run_sd is None
    assert 0 <= hard.low < 0.25 < hard.high


def test_outcomes_are_in_the_order_of_the_problems() -> None:
    records = [
        make_record(system, problem, "cot", status=status)
        for system, statuses in (("u", ("wrong", "correct")), ("f", ("correct", "correct")))
        for problem, status in zip(("p2", "p1"), statuses, strict=True)
    ]
    found, problems = outcomes_of(records, {"p1": "s", "p2": "s"})
    assert found == {"u": {"s/cot": "10"}, "f": {"s/cot": "11"}}
    assert outcomes_of(records[::-1], {"p1": "s", "p2": "s"})[1] == problems
    with pytest.raises(ValueError, match="^f: 1 answers: expected those of u$"):
        outcomes_of(records[:-1], {"p1": "s", "p2": "s"})


def test_blocks_of_one_study_have_one_code_one_text_and_the_same_problems(tmp_path: Path) -> None:
    first, second = simulated(gains(0.0, 0.0), seeds=2)
    write_block(tmp_path, first)
    write_block(tmp_path, second)
    assert read_blocks(tmp_path, [2, 3, 1]) == [second, first]
    for name in ("code", "registration", "problems"):
        write_block(tmp_path, block(2, second.outcomes, **{name: "other"}))
        with pytest.raises(
            ValueError, match=rf"2\.json: {name}: other: expected .*, as in 1\.json$"
        ):
            read_blocks(tmp_path, [1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "two"}, "seed: 'two': expected a whole number"),
        ({"seed": 1}, "seed: 1: expected 2, as in its name"),  # a copy of the first
        ({("dealt", "a/cot"): "012"}, r"outcomes\.dealt\.a/cot: '012': expected text that matches"),
        ({("dealt", "a/cot"): "1"}, r"outcomes\.dealt\.a/cot: '1': expected text that matches"),
        ({("dealt", "a/cot"): "10"}, r"outcomes\.dealt\.a/cot: 2 problems: expected 60, as in 1"),
        ({("dealt", "a/cot"): None}, r"outcomes\.dealt\.a/cot: 0 problems: expected 60, as in 1"),
        ({("dealt", "x/cot"): "10"}, r"outcomes\.dealt\.x/cot: 2 problems: expected 0, as in 1"),
    ],
)
def test_a_file_that_is_no_block_of_the_study_is_named(
    change: dict[Any, Any], message: str, tmp_path: Path
) -> None:
    for made in simulated(gains(0.0, 0.0), seeds=2):
        write_block(tmp_path, made)
    raw = read_json(tmp_path / "2.json")
    for key, value in change.items():
        if isinstance(key, str):
            raw[key] = value
        elif value is None:
            del raw["outcomes"][key[0]][key[1]]
        else:
            raw["outcomes"][key[0]][key[1]] = value
    write_json(tmp_path / "2.json", raw)
    with pytest.raises(ValueError, match=rf"2\.json: {message}") as error:
        read_blocks(tmp_path, [1, 2])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"easy": ["d/cot"]}, "^easy: 'd/cot': "), ({"control": "x"}, "^block 1: 'x': expected")],
)
def test_what_the_blocks_lack_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        endpoints(STUDY.model_copy(update=change), simulated(gains(0.0, 0.0)))
