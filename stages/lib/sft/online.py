"""The plan of an online run: each segment's examples follow from what the run has observed.

As in a plan made beforehand, every step has exactly the same number of supervised tokens. The
weights of the cells change every few steps. Those of a segment follow from the steps before
the last one: the row that comes next is built while the last step is still being computed.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from transformers import TrainerCallback

from stages.lib.mixing import observations
from stages.lib.mixing.cells import Cells
from stages.lib.mixing.observations import Observation
from stages.lib.mixing.rules import Rule, Weights
from stages.lib.mixing.stream import CellQueues
from stages.lib.params.training import Train
from stages.lib.sft.batches import Plan, check_step, name_unfit_example
from stages.lib.sft.loss import ExampleScore
from stages.lib.sft.schedule import balance_micro_batches, check_examples, fill_step
from stages.lib.sft.tokens import TokenizedExamples
from stages.lib.training.packing import micro_batch


@dataclass(frozen=True)
class Segment:
    """The weights of the cells over a few steps, and the signal that they follow; both (cells,)."""

    weights: Weights
    signal: Weights


class OnlinePlan(Plan):
    """The micro-batches of a run, planned on demand.

    A function of the data, the settings, the rule and the observations: a resumed run that
    gets the observations of the interrupted one plans the same again.
    """

    def __init__(
        self, data: TokenizedExamples, settings: Train, cells: Cells, rule: Rule, *, every: int
    ) -> None:
        """Plan nothing yet; ``every`` steps share their weights.

        Raises ValueError for examples that fit no step.
        """
        with name_unfit_example(data, settings):
            check_examples(data.supervised, [1] * len(data), settings.tokens_per_step)
        self.data = data
        self.per_step = settings.micro_batches
        self.micro_batches = []
        self.segments: list[Segment] = []
        self.every = every
        self.cells = cells
        self.settings = settings
        self.factor = None
        self._rule = rule
        self._queues = CellQueues(cells.members, seed=settings.seed)
        self._observed: list[list[Observation]] = []
        self._n_followed = 0
        self._skipped: list[int] = []

    def row(self, index: int) -> dict[str, list[Any]]:
        """Build the packed row of a micro-batch.

        For each token, its column ``example_positions`` has the position of the token's example
        in the step, from 0.
        """
        step, batch = divmod(index, self.per_step)
        while len(self.segments) * self.every <= step:
            self._plan_segment(len(self.segments) * self.every)
        tokens = [self.data[i] for i in self.micro_batches[index]]
        row = micro_batch(tokens, 1.0)
        before = sum(len(b) for b in self.micro_batches[index - batch : index])
        positions = enumerate(tokens, start=before)
        row["example_positions"] = [
            position for position, ids in positions for _ in range(len(ids))
        ]
        return row

    def observe(self, step: int, scores: Sequence[ExampleScore]) -> None:
        """Record the scores of a step, from all processes and in any order.

        Raises ValueError unless it is the next step and has a score for each of its examples.
        """
        examples = self.step(step)
        ordered = sorted(scores)
        if step != len(self._observed) or [row[0] for row in ordered] != list(range(len(examples))):
            raise ValueError(
                f"step {step}: {len(scores)} scores: expected {len(examples)}, of the next step"
            )
        self._observed.append(
            [
                Observation(step, examples[position], loss, exact)
                for position, loss, exact in ordered
            ]
        )

    def save(self, folder: Path) -> None:
        """Write the observations into a checkpoint's folder."""
        observations.save(folder, (row for step in self._observed for row in step))

    def restore(self, folder: Path) -> None:
        """Read the observations of an interrupted run from a checkpoint's folder."""
        rows = observations.load(folder)
        steps: list[list[Observation]] = [[] for _ in range(1 + max(row.step for row in rows))]
        for row in rows:
            steps[row.step].append(row)
        self._observed = steps

    @property
    def warmup_steps(self) -> int:
        """Return how many of the planned steps came before the first that prefers a cell."""
        equal = takewhile(lambda segment: np.ptp(segment.weights) == 0, self.segments)
        return min(self.every * sum(1 for _ in equal), self.settings.steps)

    def _plan_segment(self, first: int) -> None:
        """Plan the steps from ``first`` on that share their weights."""
        self._follow(first - 1)
        weights = self._rule.weights(len(self.segments))
        self.segments.append(Segment(weights, self._rule.signal()))
        rng = np.random.default_rng([self.settings.seed, first])
        stream = self._queues.stream(weights, rng)
        # What the last segment passed over comes first.
        pending, n_passed = deque(self._skipped), len(self._skipped)
        taken: list[int] = []
        for number in range(first, min(first + self.every, self.settings.steps)):
            step, n_skipped = fill_step(
                pending, stream, self.data.supervised, self.settings.tokens_per_step
            )
            check_step(number, step, self.per_step)
            # Of those passed over before, a step takes at most as many as it has.
            n_passed = max(n_skipped, n_passed - len(step))
            taken += step
            lengths = [self.data.lengths[i] for i in step]
            self.micro_batches += [
                [step[position] for position in batch]
                for batch in balance_micro_batches(lengths, self.per_step)
            ]
        before = Counter(self._skipped)
        self._skipped = list(islice(pending, n_passed))
        # The rest of what the plan looked at stays queued, for other weights.
        self._queues.take((Counter(taken) + Counter(self._skipped) - before).elements())

    def _follow(self, end: int) -> None:
        """Let the rule observe all steps before ``end`` that it has not."""
        if len(self._observed) < end:
            raise ValueError(f"step {end - 1}: not observed: expected it before step {end + 1}")
        for step in self._observed[self._n_followed : max(end, 0)]:
            for row in step:
                self._rule.observe(self.cells.cell_of[row.example], row)
        self._n_followed = max(end, self._n_followed)


@dataclass(eq=False)
class Feedback(TrainerCallback):
    """Tells an online plan what each step showed, and keeps it in the checkpoints.

    ``scores`` is the list that the trainer adds the scores of this process to.
    """

    plan: OnlinePlan
    scores: list[ExampleScore]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Gather the step's scores; every process plans on from all of them."""
        self.plan.observe(state.global_step - 1, gather_object(self.scores))
        self.scores.clear()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the observations into the checkpoint."""
        if state.is_world_process_zero:
            self.plan.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")
