"""What the rounds of a run sampled: completions to read, and counts of all of them.

A row is a completion: ``step`` (the first on it), ``problem_id``, ``question``, ``sample``
(its number in the group), ``text``, ``tokens``, ``ended`` (whether it ended its turn),
``rewards`` by name, their weighted sum ``reward``, and ``advantage``. A checkpoint holds all rows
before it, so a resumed run writes the same file as an undisturbed one.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from stages.lib.core.files import write_text
from stages.lib.core.paths import DATA

ROLLOUTS = DATA / "rollouts"

_COMPLETIONS, _ROUNDS = "completions.jsonl", "rounds.jsonl"


@dataclass(frozen=True)
class Round:
    """What a round trained on and generated, in all processes.

    ``problems`` are indices in the schedule, in the order of the groups.
    """

    problems: list[int]
    completions: int
    tokens: int
    replaced: int


class RolloutLog(TrainerCallback):
    """The rounds of a run, and up to ``limit`` completions of each: those of its first groups."""

    def __init__(self, limit: int) -> None:
        """Start with no rounds."""
        self.limit = limit
        self.rounds: list[Round] = []
        self._rows: list[str] = []

    def add(self, sampled: Round, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add a round and its completions."""
        self.rounds.append(sampled)
        self._rows += [_line(row) for row in rows[: self.limit]]

    def times_trained(self) -> Counter[int]:
        """Return how many rounds trained on each problem, in the order of their first."""
        return Counter(problem for sampled in self.rounds for problem in sampled.problems)

    def total(self, count: str) -> int:
        """Return the sum of a count of ``Round`` over all rounds."""
        return sum(getattr(sampled, count) for sampled in self.rounds)

    def write(self, path: Path) -> None:
        """Write the completions as JSON Lines."""
        write_text(path, "".join(self._rows))

    def restore(self, checkpoint: Path) -> None:
        """Go back to what a checkpoint holds."""
        with (checkpoint / _ROUNDS).open(encoding="utf-8") as lines:
            self.rounds = [Round(**json.loads(line)) for line in lines]
        with (checkpoint / _COMPLETIONS).open(encoding="utf-8") as lines:
            self._rows = list(lines)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the rounds into the checkpoint that was just saved."""
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        self.write(checkpoint / _COMPLETIONS)
        rounds = "".join(_line(asdict(sampled)) for sampled in self.rounds)
        write_text(checkpoint / _ROUNDS, rounds)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
