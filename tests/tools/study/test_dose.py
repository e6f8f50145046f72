"""The dose curve, on made-up outcomes of the recipe's arms."""

from dataclasses import replace

import numpy as np
import pytest

from stages.lib.figures import style
from stages.lib.params.root import Params
from tests.tools.study.test_endpoints import STUDY as REGISTERED
from tests.tools.study.test_endpoints import simulated
from tools.study.dose import dose_rows, doses_of, manipulation_rows
from tools.study.endpoints import outcomes
from tools.study.figure import draw_dose
from tools.study.run import load_recipe

STUDY = REGISTERED.model_copy(update={"candidate": "mastery"})
STEPS = [12, 24, 48, 96, 192]


@pytest.fixture(scope="module")
def recipe() -> Params:
    return load_recipe("study-dose")


def test_both_arms_have_every_dose_and_are_evaluated(recipe: Params) -> None:
    for arm in ("uniform", "mastery"):
        doses = doses_of(recipe, arm)
        assert sorted(doses) == STEPS
        assert set(doses.values()) <= set(recipe.evaluate.models)
        assert doses[96] == arm


def test_a_row_has_the_accuracy_of_both_arms_and_their_difference(recipe: Params) -> None:
    gain = {"uniform": 0.0, "mastery": 0.0} | {
        f"{arm}-{steps}": 0.001 * steps * (arm == "mastery")
        for arm in ("uniform", "mastery")
        for steps in (12, 24, 48, 192)
    }
    blocks = simulated({arm: {"hard": hard, "easy": 0.0} for arm, hard in gain.items()}, seeds=3)
    rows = dose_rows(STUDY, recipe, blocks)
    assert [(row["steps"], row["stratum"]) for row in rows] == [
        (steps, stratum) for steps in STEPS for stratum in ("hard", "easy")
    ]
    last = rows[-2]
    by_run = outcomes(STUDY, blocks, "mastery-192", "hard").mean(axis=1)
    assert (last["tokens"], last["runs"]) == (192 * 448, 3)
    assert last["mastery"] == round(float(by_run.mean()), 4)
    assert last["mastery_runs"] == " ".join(f"{value:.4f}" for value in by_run)
    assert last["difference"] == pytest.approx(last["mastery"] - last["uniform"], abs=2e-4)
    assert 0.1 < last["difference"] < 0.3
    assert last["low"] < last["difference"] < last["high"]

    figure = draw_dose(rows, style.palette("colorblind", ["mastery", "uniform"]), width_in=6.5)
    accuracy, difference = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in accuracy.get_lines()}
    assert np.allclose(lines["mastery"], [100 * row["mastery"] for row in rows[::2]])
    assert difference.get_ylabel() == "mastery − uniform (points)"


def test_the_manipulation_is_examples_of_a_hard_cell_for_one_of_an_easy_cell(
    recipe: Params,
) -> None:
    arms = [doses_of(recipe, arm)[steps] for arm in ("mastery", "uniform") for steps in STEPS]
    first, second, third = simulated(dict.fromkeys(arms, {"hard": 0.0, "easy": 0.0}), seeds=3)
    even = {"a/cot": 8, "a/pot": 8, "b/cot": 8, "b/pot": 8, "c/cot": 8}
    uneven = {"a/cot": 2, "a/pot": 6, "b/cot": 10, "b/pot": 20, "c/cot": 0}
    examples = dict.fromkeys(arms, even) | {"mastery-192": uneven}
    blocks = [first, replace(second, examples=examples), third]
    rows = manipulation_rows(STUDY, recipe, blocks)
    assert [(row["seed"], row["steps"]) for row in rows] == [(2, steps) for steps in STEPS]
    assert [row["mastery"] for row in rows] == [1, 1, 1, 1, 2.5]
    assert {row["uniform"] for row in rows} == {1}


def test_a_dose_of_one_arm_alone_is_refused(recipe: Params) -> None:
    arms = {name: arm for name, arm in recipe.weigh.arms.items() if name != "mastery-12"}
    weigh = recipe.weigh.model_copy(update={"arms": arms})
    with pytest.raises(ValueError, match=r"^study-dose: steps of mastery: \[24, .*\[12, 24"):
        dose_rows(STUDY, recipe.model_copy(update={"weigh": weigh}), [])
