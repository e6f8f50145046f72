"""Which groups are replaced, by which problems, and what that costs."""

from collections.abc import Sequence

import pytest

from stages.lib.grpo.resampling import Group, SampledRound, sample_round


def sampled(
    problems: Sequence[int], candidates: Sequence[int], lacking: set[int], max_resamples: int
) -> tuple[SampledRound, list[list[int]]]:
    """Sample groups of two completions, of 1 and 2 tokens; those ``lacking`` have no signal."""
    calls: list[list[int]] = []

    def sample(chosen: Sequence[int]) -> list[Group]:
        calls.append(list(chosen))
        return [Group(problem, [[problem], [problem, 0]], None) for problem in chosen]

    result = sample_round(
        problems,
        candidates,
        sample,
        lambda group: group.problem not in lacking,
        max_resamples=max_resamples,
    )
    return result, calls


@pytest.mark.parametrize(
    ("lacking", "candidates", "max_resamples", "calls", "trained", "without_signal"),
    [
        # No replacement is asked for, or needed.
        ({2}, [7, 8], 0, [[1, 2, 3]], [1, 2, 3], 1),
        (set(), [7, 8], 2, [[1, 2, 3]], [1, 2, 3], 0),
        # Groups keep their places; candidates come in their order.
        ({1, 3}, [7, 8, 9], 1, [[1, 2, 3], [7, 8]], [7, 2, 8], 0),
        # A replacement without signal is replaced again, as often as is allowed.
        ({2, 7, 8}, [7, 8, 9], 3, [[1, 2, 3], [7], [8], [9]], [1, 9, 3], 0),
        ({2, 7, 8}, [7, 8, 9], 2, [[1, 2, 3], [7], [8]], [1, 8, 3], 1),
        # Too few candidates: the first groups are replaced, the others stay.
        ({1, 2, 3}, [7], 5, [[1, 2, 3], [7]], [7, 2, 3], 2),
    ],
)
def test_groups_without_signal_are_replaced(
    lacking: set[int],
    candidates: list[int],
    max_resamples: int,
    calls: list[list[int]],
    trained: list[int],
    without_signal: int,
) -> None:
    result, made = sampled([1, 2, 3], candidates, lacking, max_resamples)
    assert made == calls
    assert [group.problem for group in result.groups] == trained
    assert result.without_signal == without_signal
    generated = sum(map(len, calls))
    assert (result.generated_groups, result.replaced) == (generated, generated - 3)
    assert result.generated_tokens == 3 * generated
