"""The arithmetic ladder: its rungs, and problems sampled from them.

The ladder runs from one-digit sums to products that a small model never gets right.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from stages.lib.core.schema import AnswerKind, Problem, content_id
from stages.lib.data.ladder_numbers import (
    Numbers,
    chains,
    decimal_pairs,
    differences,
    digit_sums,
    divisors,
    equations,
    fractions,
    mixed_chains,
    multiples,
    products,
    products_1x2,
    sums,
    two_and_one_digit,
    with_second,
)
from stages.lib.data.ladder_solutions import (
    WorkedProblem,
    addition,
    chain,
    decimal_addition,
    fraction,
    greatest_divisor,
    least_multiple,
    linear_equation,
    multiplication,
    subtraction,
)
from stages.lib.data.problems import rng_for

MAX_MISSES = 10_000
"""Draws in a row without a new question after which a rung counts as exhausted."""


PARTS: dict[str, range] = {
    "train": range(9),
    "dev": range(9, 11),
    "test": range(11, 16),
    "test-2": range(16, 20),
}
"""The twentieths of each rung that a part has. The parts share no problem, whatever is sampled."""


def sample_ladder(
    rungs: Sequence[str], *, per_rung: int, seed: int, part: str | None = None
) -> list[Problem]:
    """Return ``per_rung`` different problems of each rung, in the order of ``rungs``.

    They are of one of ``PARTS``, or of all. The level of a problem is its rung's position in
    ``RUNGS``, from 1. Raises ValueError for an unknown rung, and for one with too few
    different questions.
    """
    problems = []
    for name in rungs:
        if name not in RUNGS:
            raise ValueError(f"rung: {name!r}: expected one of {', '.join(RUNGS)}")
        distinct = _sample_distinct(name, per_rung, seed, part)
        if len(distinct) < per_rung:
            suffix = "" if part is None else f" of the part {part}"
            raise ValueError(
                f"rung {name}: {per_rung} different problems{suffix} requested, "
                f"{len(distinct)} available"
            )
        problems += distinct
    return problems


def part_of(rung: str, question: str) -> str:
    """Return the part of ``PARTS`` that a question belongs to.

    Questions with the same numbers and signs in any order ("7 + 8" and "8 + 7", but also
    "9 - 4" and "4 - 9") belong to one part.
    """
    numbers_and_signs = sorted(re.findall(r"\d+(?:\.\d+)?|[-+*/=]", question))
    twentieth = int(content_id("holdout", rung, *numbers_and_signs), 16) % 20
    return next(part for part, twentieths in PARTS.items() if twentieth in twentieths)


def _sample_distinct(name: str, count: int, seed: int, part: str | None) -> list[Problem]:
    """Return ``count`` different problems of a rung, fewer if it has no more."""
    rung = RUNGS[name]
    level = list(RUNGS).index(name) + 1
    problems: dict[str, Problem] = {}
    misses = 0
    # The rung's name is part of the seed: other rungs do not change the problems of this one.
    for numbers in rung.draw(int(rng_for(seed, "draw", name).integers(2**31))):
        if len(problems) == count or misses == MAX_MISSES:
            break
        texts = rung.write(*numbers)
        problem_id = content_id(name, texts.question)
        if problem_id in problems or part not in (None, part_of(name, texts.question)):
            misses += 1
            continue
        misses = 0
        problems[problem_id] = Problem(
            id=problem_id,
            source=name,
            **asdict(texts),
            kind=rung.kind,
            choices=[],
            level=level,
            topic=rung.topic,
            template=name,
        )
    return list(problems.values())


@dataclass(frozen=True, slots=True)
class Rung:
    """One kind of ladder problem.

    ``draw`` yields the numbers of one problem after the other from a seed, without end;
    ``write`` turns them into the texts of the problem.
    """

    topic: str
    draw: Callable[[int], Iterator[Numbers]]
    write: Callable[..., WorkedProblem]
    kind: AnswerKind = "number"


RUNGS: dict[str, Rung] = {
    "sum-1-digit": Rung("addition", partial(sums, digits=1), addition),
    "difference-1-digit": Rung("subtraction", partial(differences, digits=1), subtraction),
    "product-1x1": Rung("multiplication", partial(products, digits=1), multiplication),
    "increment": Rung("addition", partial(with_second, second=1), addition),
    "decrement": Rung("subtraction", partial(with_second, second=1), subtraction),
    "product-with-10": Rung("multiplication", partial(with_second, second=10), multiplication),
    "sum-2-and-1-digit": Rung("addition", two_and_one_digit, addition),
    "difference-2-and-1-digit": Rung("subtraction", two_and_one_digit, subtraction),
    "sum-3-terms": Rung("addition", digit_sums, chain),
    "product-1x2": Rung("multiplication", products_1x2, multiplication),
    "linear-equation": Rung("algebra", equations, linear_equation),
    "sum-2-digit": Rung("addition", partial(sums, digits=2), addition),
    "decimal-sum": Rung("decimals", decimal_pairs, decimal_addition),
    "fraction": Rung("fractions", fractions, fraction, kind="expression"),
    "gcd": Rung("number theory", divisors, greatest_divisor),
    "lcm": Rung("number theory", multiples, least_multiple),
    "sum-3-digit": Rung("addition", partial(sums, digits=3), addition),
    "mixed-precedence": Rung("mixed", mixed_chains, chain),
    "chain-4-terms": Rung("mixed", chains, chain),
    "product-2x2": Rung("multiplication", partial(products, digits=2), multiplication),
}
"""The rungs of the ladder, in the order in which a small model is expected to fail them."""
