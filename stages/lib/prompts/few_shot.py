"""Choose in-context demonstrations for a problem."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from stages.lib.core.schema import Problem, Prompting
from stages.lib.core.sequences import evenly_spaced
from stages.lib.params.data import Prompts
from stages.lib.prompts.templates import model_response, problem_prompt


def choose_demonstrations(
    problem: Problem, pool: Sequence[Problem], shots: int, prompting: Prompting
) -> list[Problem]:
    """Return ``shots`` in-context examples for a problem, all with a response for ``prompting``.

    They come from the problem's own source; if the pool has none of that source, from
    evenly spaced sources of the pool. Raises ValueError if there are too few.
    """
    pool = [candidate for candidate in pool if model_response(candidate, prompting)]
    examples = [candidate for candidate in pool if candidate.source == problem.source]
    if not examples:
        first_of = {candidate.source: candidate for candidate in reversed(pool)}
        firsts = [first_of[source] for source in sorted(first_of)]
        examples = evenly_spaced(firsts, shots) if firsts else []
    if len(examples) < shots:
        raise ValueError(
            f"prepare.demonstrations: {len(examples)} for source {problem.source!r}: "
            f"expected at least {shots}, the number of in-context examples"
        )
    return examples[:shots]


def few_shot_prompt(
    tokenizer: PreTrainedTokenizerBase,
    settings: Prompts,
    problem: Problem,
    prompting: Prompting,
    pool: Sequence[Problem],
    shots: int,
) -> tuple[int, ...]:
    """Return the token ids of a problem's prompt, with ``shots`` demonstrations of the pool."""
    demonstrations = choose_demonstrations(problem, pool, shots, prompting)
    return problem_prompt(tokenizer, settings, problem, prompting, demonstrations)
