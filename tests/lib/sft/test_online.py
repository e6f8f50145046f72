"""Online plans: exact steps, weights that follow, and runs that resume."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from stages.lib.core.schema import Example
from stages.lib.mixing.cells import group_by_cell
from stages.lib.mixing.rules import Frontier, Mastery, Rule, Trace, permuted, rule_of
from stages.lib.params.strategies import FrontierArm, MasteryArm, PlannedArm
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.sft.loss import ExampleScore, weighted_loss
from stages.lib.sft.online import OnlinePlan
from stages.lib.sft.tokens import tokenize_examples
from tests.arms import FRONTIER, MASTERY, PLANNED
from tests.conftest import one_turn, tiny_model
from tests.lib.sft.test_batches import _CACHE, CHAT, example, settings
from tests.lib.sft.test_loss import FIRST, SECOND, Row, packed

CELLS = 4
EVERY = 2


def examples_of(per_cell: int, n_cells: int) -> list[Example]:
    """Return examples of several sources; a response has 4 to 8 supervised tokens."""
    return [
        replace(example(number), source=f"s{number % n_cells}")
        for number in range(per_cell * n_cells)
    ]


def frontier(**changes: Any) -> Frontier:
    return Frontier(CELLS, FrontierArm.model_validate(FRONTIER | changes))


@dataclass
class Learner:
    """A simulated model: the loss of a cell falls as a power of its examples so far."""

    start: Sequence[float]
    exponent: Sequence[float]
    exact_below: float = 0.0  # the loss from which on every token is the most probable one

    def __post_init__(self) -> None:
        self.n = np.zeros(len(self.start))

    def loss(self, cell: int) -> float:
        return float(self.start[cell] * (1 + self.n[cell]) ** -self.exponent[cell])


def plan_of(
    tokenizer: PreTrainedTokenizerFast,
    rule: Rule,
    *,
    per_cell: int = 40,
    n_cells: int = CELLS,
    **changes: Any,
) -> OnlinePlan:
    chosen = settings(**({"steps": 40, "tokens_per_step": 60} | changes))
    data = tokenize_examples(
        examples_of(per_cell, n_cells), tokenizer, CHAT, chosen, Path(_CACHE.name)
    )
    return OnlinePlan(data, chosen, group_by_cell(data.examples), rule, every=EVERY)


def simulate(plan: OnlinePlan, learner: Learner, steps: int, first: int = 0) -> None:
    """Let a learner take a plan's steps, each built one row ahead as the trainer's are."""
    for step in range(first, steps):
        scores: list[ExampleScore] = []
        plan.row(step * plan.per_step)
        if step + 1 < plan.settings.steps:
            plan.row((step + 1) * plan.per_step)
        batches = plan.micro_batches[step * plan.per_step : (step + 1) * plan.per_step]
        for position, index in enumerate(index for batch in batches for index in batch):
            loss = learner.loss(plan.cells.cell_of[index])
            scores.append((position, loss, loss < learner.exact_below))
        plan.observe(step, scores[::-1])  # in any order
        for batch in batches:
            for index in batch:
                learner.n[plan.cells.cell_of[index]] += 1


# Mastered from the start, at the frontier, learned slowly, and out of reach.
FOUR = ([0.1, 6.0, 9.0, 80.0], [0.5, 0.4, 0.2, 0.01])


@pytest.fixture
def run(tokenizer: PreTrainedTokenizerFast) -> OnlinePlan:
    plan = plan_of(tokenizer, frontier())
    simulate(plan, Learner(*FOUR), 40)
    return plan


def shares(plan: OnlinePlan, first: int, last: int) -> list[float]:
    taken = [
        plan.cells.cell_of[index]
        for batch in plan.micro_batches[first * plan.per_step : last * plan.per_step]
        for index in batch
    ]
    return [taken.count(cell) / len(taken) for cell in range(CELLS)]


def test_every_step_has_exactly_its_tokens(run: OnlinePlan) -> None:
    assert len(run.micro_batches) == 80
    for step in range(40):
        indices = [i for batch in run.micro_batches[2 * step : 2 * step + 2] for i in batch]
        assert sum(run.data.supervised[i] for i in indices) == 60


def test_the_frontier_is_found_after_an_equal_warmup(run: OnlinePlan) -> None:
    n_equal = sum((segment.weights == 1).all() for segment in run.segments)
    assert 0 < n_equal < len(run.segments) / 3
    assert max(shares(run, 0, n_equal * EVERY)) < 0.35
    mastered, reached, slow, hopeless = shares(run, 20, 40)
    assert min(reached, slow) > 2 * max(mastered, hopeless)
    assert min(mastered, hopeless) > 0.03  # the floor


def test_a_planned_run_leaves_what_is_mastered_and_what_is_out_of_reach(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    arm = PlannedArm.model_validate(PLANNED | {"scale": 0.5, "floor": 0.05, "every": EVERY})
    plan = plan_of(tokenizer, frontier())
    plan = plan_of(tokenizer, rule_of(arm, plan.cells, plan.data.supervised, plan.settings))
    simulate(plan, Learner(*FOUR), 40)
    mastered, reached, slow, hopeless = shares(plan, 20, 40)
    assert reached + slow > 3 * (mastered + hopeless)


def test_mastery_leaves_what_is_mastered_and_its_control_does_not(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    plan = plan_of(tokenizer, Mastery(CELLS, MasteryArm.model_validate(MASTERY | {"floor": 0.05})))
    simulate(plan, Learner(*FOUR, exact_below=1.0), 40)
    mastered, *others = shares(plan, 20, 40)
    assert min(others) > 3 * mastered > 0
    trace = np.array([segment.weights for segment in plan.segments])
    control = plan_of(tokenizer, Trace(permuted(trace, seed=3)))
    simulate(control, Learner(*FOUR, exact_below=1.0), 40)
    assert shares(control, 20, 40)[0] > 3 * mastered


def test_dealt_weights_miss_it(tokenizer: PreTrainedTokenizerFast, run: OnlinePlan) -> None:
    trace = np.array([segment.weights for segment in run.segments])
    dealt = plan_of(tokenizer, Trace(permuted(trace, seed=3)))
    simulate(dealt, Learner(*FOUR), 40)
    assert sorted(map(tuple, np.array([s.weights for s in dealt.segments]).T)) == sorted(
        map(tuple, trace.T)
    )
    assert sum(shares(dealt, 20, 40)[1:3]) < sum(shares(run, 20, 40)[1:3])


def test_examples_of_a_cell_are_fresh_until_it_is_used_up(run: OnlinePlan) -> None:
    counts = Counter(index for batch in run.micro_batches for index in batch)
    for members in run.cells.members:
        times = [counts[index] for index in members]
        assert max(times) - min(times) <= 1


def test_a_resumed_plan_goes_on_as_the_interrupted_one(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, run: OnlinePlan
) -> None:
    learner = Learner(*FOUR)
    interrupted = plan_of(tokenizer, frontier())
    simulate(interrupted, learner, 23)
    interrupted.save(tmp_path)
    resumed = plan_of(tokenizer, frontier())
    resumed.restore(tmp_path)
    simulate(resumed, learner, 40, first=23)
    assert resumed.micro_batches == run.micro_batches
    assert [s.weights.tolist() for s in resumed.segments] == [
        s.weights.tolist() for s in run.segments
    ]


def test_places_name_each_example_of_a_step_once(run: OnlinePlan) -> None:
    rows = [run.row(2 * 7 + batch) for batch in (0, 1)]
    batches = run.micro_batches[14:16]
    positions = [position for row in rows for position in dict.fromkeys(row["example_positions"])]
    assert positions == list(range(sum(map(len, batches))))
    assert all(len(row["example_positions"]) == len(row["input_ids"]) for row in rows)


def test_a_step_that_is_not_the_next_or_lacks_a_score_is_refused(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    plan = plan_of(tokenizer, frontier())
    plan.row(0)
    scores = [(position, 1.0, True) for position in range(len(plan.problem_ids(0)))]
    with pytest.raises(ValueError, match=r"^step 1: "):
        plan.observe(1, scores)
    with pytest.raises(ValueError, match=r"^step 0: .* expected \d+, of the next step$"):
        plan.observe(0, scores[1:])
    with pytest.raises(ValueError, match=r"^step 0: not observed: expected it before step 2$"):
        plan.row(2 * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens_per_step": 6}, r"^train\.tokens_per_step: 6: example of problem p3 \(cot\): 7 "),
        ({"tokens_per_step": 16, "micro_batches": 4}, r"^train\.micro_batches: 4: step \d+ has "),
    ],
)
def test_what_fits_no_step_is_named(
    tokenizer: PreTrainedTokenizerFast, change: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(tokenizer, frontier(), **change).row(0)


def row_of(examples: Sequence[TokenizedExample]) -> Row:
    positions = [position for position, ids in enumerate(examples) for _ in range(len(ids))]
    return packed(examples) | {"example_positions": torch.tensor([positions])}


def test_scores_are_the_losses_of_the_examples(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(tokenizer).double()
    scores: list[ExampleScore] = []
    weighted_loss(model, row_of([FIRST, SECOND, SECOND]), 10, scores.extend)
    assert [position for position, _, _ in scores] == [0, 1, 2]
    for (_, loss, exact), scored in zip(scores, [FIRST, SECOND, SECOND], strict=True):
        expected = weighted_loss(model, row_of([scored]), 1)
        assert loss == pytest.approx(float(expected), rel=1e-6)
        assert not exact


def test_exact_is_what_greedy_decoding_would_write(tokenizer: PreTrainedTokenizerFast) -> None:
    model: Qwen2ForCausalLM = tiny_model(tokenizer).double()
    ids = [10, 11, 12]
    for _ in range(3):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    greedy = one_turn(ids[:3], ids[3:], 1.0)
    other = one_turn(ids[:3], [*ids[3:5], (ids[5] + 1) % 320], 1.0)
    scores: list[ExampleScore] = []
    weighted_loss(model, row_of([greedy, other]), 6, scores.extend)
    assert [exact for _, _, exact in scores] == [True, False]


def test_a_row_without_positions_has_no_scores(tokenizer: PreTrainedTokenizerFast) -> None:
    row = row_of([FIRST])
    del row["example_positions"]
    fail: Callable[[list[ExampleScore]], object] = pytest.fail  # type: ignore[assignment]
    assert math.isfinite(float(weighted_loss(tiny_model(tokenizer), row, 4, fail)))
