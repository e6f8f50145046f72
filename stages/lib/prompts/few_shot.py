"""Choose in-context demonstrations for a problem."""

from collections.abc import Sequence

from stages.lib.core.schema import Problem, Prompting
from stages.lib.prompts.templates import respond


def choose_demonstrations(
    problem: Problem, pool: Sequence[Problem], shots: int, prompting: Prompting
) -> list[Problem]:
    """Return ``shots`` examples for a problem that are worked in the way of ``prompting``.

    They come from the problem's own source; where the pool has none of it, from
    sources spread evenly over the pool. Raises ValueError if there are too few.
    """
    pool = [candidate for candidate in pool if respond(candidate, prompting)]
    own = [candidate for candidate in pool if candidate.source == problem.source]
    if not own:
        first_of = {candidate.source: candidate for candidate in reversed(pool)}
        firsts = [first_of[source] for source in sorted(first_of)]
        own = [firsts[i * len(firsts) // shots] for i in range(shots)] if firsts else []
    if len(own) < shots:
        raise ValueError(
            f"prepare.demonstrations: {len(own)} for source {problem.source!r}: "
            f"expected at least the {shots} in-context examples asked for"
        )
    return own[:shots]
