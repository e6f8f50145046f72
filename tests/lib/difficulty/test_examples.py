"""What of an arm's plan stands in its examples."""

import numpy as np

from stages.lib.difficulty.examples import Completion, problem_examples
from stages.lib.difficulty.strategies import ArmPlan
from tests.rows import make_problem


def test_an_example_has_every_number_of_its_problem_in_the_plan_of_its_prompting() -> None:
    plan = ArmPlan(
        repeats=np.array([1, 3]),
        weights=np.array([0.5, 2.0]),
        start_fraction=np.array([0.0, 0.25]),
        factor="likelihood",
        factor_power=0.3,
        factor_unit="example",
        factor_shuffled=True,
        anchor=0.05,
    )
    other = ArmPlan(np.array([7, 8]), np.ones(2), np.zeros(2))
    problems = [make_problem("one"), make_problem("two", source="gcd")]
    completions = [
        Completion(1, problems[1], "cot", "It is 1."),
        Completion(0, problems[0], "pot", "print(1)"),
    ]
    first, second = problem_examples(completions, {"cot": plan, "pot": other})
    assert (first.problem_id, first.source, first.prompting) == ("two", "gcd", "cot")
    assert (first.turns[0].question, first.turns[0].response) == ("What is two?", "It is 1.")
    assert (first.repeats, first.weight, first.start_fraction) == (3, 2.0, 0.25)
    assert (first.factor, first.factor_power, first.factor_unit) == ("likelihood", 0.3, "example")
    assert (first.factor_shuffled, first.anchor) == (True, 0.05)
    assert (second.problem_id, second.repeats, second.factor) == ("one", 7, "none")
