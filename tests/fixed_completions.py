"""The GRPO stage with completions that are the same whoever samples them.

accelerate launch --config_file conf/accelerate/ddp.yaml -m tests.fixed_completions MODEL
"""

from collections.abc import Sequence

from stages import grpo
from stages.lib.grpo.policy import ScheduledTrainer
from stages.lib.grpo.resampling import Group
from stages.lib.runtime import console


def completions_of(problem: int, count: int, end: int) -> list[list[int]]:
    """Return completions of one to three tokens, of which every other one ends its turn."""
    return [
        [(7 * problem + 3 * sample + token) % 64 * 4 + 1 for token in range(1 + sample % 3)]
        + [end] * (sample % 2)
        for sample in range(count)
    ]


def sample(self: ScheduledTrainer, problems: Sequence[int]) -> list[Group]:
    """Sample groups as ``ScheduledTrainer`` does, but with fixed completions."""
    end = self.eos_token_ids[0]
    count = self.num_generations
    assert count is not None
    return [Group(index, completions_of(index, count, end), None) for index in problems]


if __name__ == "__main__":
    ScheduledTrainer._sample = sample  # noqa: SLF001
    console.run_stage("grpo", grpo.main, item="name")
