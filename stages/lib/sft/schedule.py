"""Which examples each optimizer step of a training run takes.

Arms differ in repeats, loss weights and when an example joins. ``plan_steps`` gives every
arm the same number of optimizer steps with exactly the same number of supervised tokens,
so that arms are compared at equal compute.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from math import ceil

import numpy as np

# How many examples at the end of a step may be swapped, at the first attempt, to complete it.
REWIND = 16
# How many examples after the step are candidates.
LOOK_AHEAD = 256


class UnfitExampleError(ValueError):
    """Raised when an example fits no step."""

    def __init__(self, example: int, reason: str) -> None:
        """Store the index and the reason, which are also in the message."""
        super().__init__(f"tokens: example {example}: {reason}")
        self.example = example
        self.reason = reason


def plan_steps(
    tokens: Sequence[int],
    repeats: Sequence[int],
    start_fraction: Sequence[float],
    *,
    steps: int,
    tokens_per_step: int,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Return the examples of each optimizer step, with exactly ``tokens_per_step`` tokens each.

    ``tokens`` counts each example's supervised tokens, ``repeats`` how often an epoch holds
    it; it takes part from the first step t of 0..steps - 1 with t / steps at least its entry
    of ``start_fraction``. Freshly shuffled epochs follow each other as one stream. A step
    takes whole examples from the head of the stream, and its last ones are chosen among the
    next few hundred so that the sum is exact. Skipped examples stay at the head for the next
    step, and every step takes the head, so examples appear in proportion to their repeats. A
    step may hold one twice. When examples join, a fresh epoch with them follows the skipped ones.

    Raises ValueError for

    - lists that are empty or of different lengths, fewer than one step, negative repeats;
    - no example that takes part from the start, or repeats of those taking part all zero;
    - examples without a token or longer than a step, of those that take part at some time;
    - lengths that cannot add up to ``tokens_per_step``, or not within the look-ahead.
    """
    # Sums are kept as bits of one long integer; a numpy integer would overflow there.
    lengths = [int(count) for count in tokens]
    _check_plan(lengths, repeats, start_fraction, steps)
    # A denominator up to a million undoes the rounding of fractions such as 0.1.
    joins = [ceil(Fraction(start).limit_denominator() * steps) for start in start_fraction]
    starts = sorted({join for join in joins if join < steps})
    if starts[:1] != [0]:
        raise ValueError(
            f"start_fraction: least {min(start_fraction)}: expected 0, an example to begin with"
        )
    plan: list[list[int]] = []
    skipped: list[int] = []
    # A phase ends where further examples join.
    for start, end in pairwise([*starts, steps]):
        present = [n if join <= start else 0 for n, join in zip(repeats, joins, strict=True)]
        check_examples(lengths, present, tokens_per_step)
        pending, stream = deque(skipped), _epochs(present, rng)
        for _ in range(start, end):
            step, n_skipped = fill_step(pending, stream, lengths, tokens_per_step)
            plan.append(step)
            skipped = list(islice(pending, n_skipped))
    return plan


def balance_micro_batches(lengths: Sequence[int], bins: int) -> list[list[int]]:
    """Spread a step's examples over ``bins`` micro-batches of about equal total length.

    Returns the indices of each bin. The longest example goes first, each to the emptiest bin: the
    fullest bin is at most 4/3 of the optimum (Graham 1969). Raises ValueError for fewer than one
    bin, a length below 1 and fewer examples than bins.
    """
    if bins < 1:
        raise ValueError(f"bins: {bins}: expected at least 1")
    if len(lengths) < bins:
        raise ValueError(f"lengths: {len(lengths)} examples: expected at least bins={bins}")
    _check_lengths("lengths", lengths, range(len(lengths)))
    micro_batches: list[list[int]] = [[] for _ in range(bins)]
    loads = [(0, bin_index) for bin_index in range(bins)]
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        load, bin_index = loads[0]
        micro_batches[bin_index].append(index)
        heapq.heapreplace(loads, (load + lengths[index], bin_index))
    return micro_batches


def max_load(lengths: Sequence[int], bins: int) -> int:
    """Return the total length of the fullest of the bins of ``balance_micro_batches``.

    It is the longest item where there are more bins than items.
    """
    filled = balance_micro_batches(lengths, min(bins, len(lengths)))
    return max(sum(lengths[i] for i in batch) for batch in filled)


def _epochs(repeats: Sequence[int], rng: np.random.Generator) -> Iterator[int]:
    epoch = np.repeat(np.arange(len(repeats)), repeats)
    while True:
        yield from rng.permutation(epoch).tolist()


def fill_step(
    pending: deque[int], stream: Iterator[int], tokens: Sequence[int], target: int
) -> tuple[list[int], int]:
    """Return a step's examples, of ``target`` tokens together, and how many it skipped.

    They are taken from ``pending`` and then from ``stream``. The skipped ones lead ``pending``
    afterwards, followed by those of the stream that were only looked at. Raises ValueError
    if no choice within the look-ahead adds up to the target.
    """
    taken, missing = [], target
    while missing > 0:
        example = pending.popleft() if pending else next(stream)
        if tokens[example] > missing:
            pending.appendleft(example)
            return _complete(taken, pending, stream, tokens, target)
        taken.append(example)
        missing -= tokens[example]
    return taken, 0


def _complete(
    taken: list[int], pending: deque[int], stream: Iterator[int], tokens: Sequence[int], target: int
) -> tuple[list[int], int]:
    """Complete a step exactly from the next examples; if necessary, replace its last ones."""
    pending.extend(islice(stream, max(0, LOOK_AHEAD - len(pending))))
    ahead = [pending.popleft() for _ in range(LOOK_AHEAD)]
    # The head always stays: otherwise an example of unusual length might never be used.
    for keep in (max(1, len(taken) - REWIND), 1):
        window = taken[keep:] + ahead
        missing = target - sum(tokens[example] for example in taken[:keep])
        chosen = _exact_subset([tokens[example] for example in window], missing)
        if chosen is not None:
            used = set(chosen)
            unused = [example for index, example in enumerate(window) if index not in used]
            pending.extendleft(reversed(unused))
            n_skipped = chosen[-1] + 1 - len(chosen)
            return taken[:keep] + [window[index] for index in chosen], n_skipped
    raise ValueError(
        f"tokens_per_step: {target}: no choice among {len(taken) + LOOK_AHEAD} examples in a row "
        "adds up to it: expected a larger step or examples of more varied lengths"
    )


def _exact_subset(lengths: Sequence[int], target: int) -> list[int] | None:
    """Return indices of lengths that add up to ``target``, from the shortest prefix that can.

    Bit s of ``reachable[i]`` is set if a subset of the first i lengths adds up to s.
    """
    reachable = [1]
    within = (1 << (target + 1)) - 1
    for length in lengths:
        reachable.append((reachable[-1] | reachable[-1] << length) & within)
        if reachable[-1] >> target:
            break
    else:
        return None
    chosen = []
    for index in range(len(reachable) - 2, -1, -1):
        # Leaving out the later of two choices keeps the stream's order.
        if not reachable[index] >> target & 1:
            chosen.append(index)
            target -= lengths[index]
    return chosen[::-1]


def _check_plan(
    tokens: Sequence[int], repeats: Sequence[int], start_fraction: Sequence[float], steps: int
) -> None:
    lengths = [len(tokens), len(repeats), len(start_fraction)]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(
            f"tokens, repeats, start_fraction: lengths {lengths}: expected equal, at least 1"
        )
    if steps < 1:
        raise ValueError(f"steps: {steps}: expected at least 1")
    for example, count in enumerate(repeats):
        if count < 0:
            raise ValueError(f"repeats: example {example}: {count}: expected 0 or more")


def check_examples(tokens: Sequence[int], repeats: Sequence[int], tokens_per_step: int) -> None:
    """Check that each example that is repeated fits a step, alone and with the others.

    Raises UnfitExampleError for one that does not, and ValueError if none is repeated, for an
    example without a token, and for lengths that cannot add up to ``tokens_per_step``.
    """
    used = [example for example, count in enumerate(repeats) if count]
    if not used:
        raise ValueError("repeats: all 0: expected at least one example to repeat")
    _check_lengths("tokens", tokens, used)
    for example in used:
        if tokens[example] > tokens_per_step:
            raise UnfitExampleError(
                example,
                f"{tokens[example]} supervised tokens: "
                f"expected at most tokens_per_step={tokens_per_step}",
            )
    _check_reachable(used, tokens, tokens_per_step)


def _check_reachable(used: Iterable[int], tokens: Sequence[int], target: int) -> None:
    """Check that repeated examples can add up to ``target``, with each length among them."""
    example_of = {tokens[example]: example for example in used}
    # Bit s is set if lengths, each any number of times, add up to s.
    reachable, within = 1, (1 << (target + 1)) - 1
    for length in example_of:
        multiple = length
        while multiple <= target:
            reachable |= reachable << multiple & within
            multiple *= 2
    if not reachable >> target:
        raise ValueError(
            f"tokens_per_step: {target}: no whole examples of {min(example_of)} to "
            f"{max(example_of)} supervised tokens add up to it: expected a sum of such lengths"
        )
    for length, example in example_of.items():
        if not reachable >> (target - length) & 1:
            raise UnfitExampleError(
                example,
                f"{length} supervised tokens: no other examples "
                f"complete it to tokens_per_step={target}",
            )


def _check_lengths(name: str, lengths: Sequence[int], examples: Iterable[int]) -> None:
    for example in examples:
        if lengths[example] < 1:
            raise ValueError(f"{name}: example {example}: {lengths[example]}: expected at least 1")
