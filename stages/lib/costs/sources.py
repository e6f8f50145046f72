"""Rows and mean tokens of the data that a composition uses."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from stages.lib.params.data import (
    BenchmarkSource,
    FileSource,
    LadderSource,
    RowsSource,
    TrainingSource,
)
from stages.lib.params.root import Params
from stages.lib.provenance.ladder_path import parse_ladder_path
from stages.lib.provenance.origins import find_facts

# Tokens of a prompt beside the question: 19 in the embedded model's template, assumed for all.
TEMPLATE_TOKENS = 20


class MeanTokens(NamedTuple):
    """Mean tokens of a prompt and of an answer."""

    prompt: float
    answer: float


def count_rows(source: TrainingSource | BenchmarkSource, rungs: int) -> int:
    """Return how many rows of a source are used, 0 if that is unknown."""
    if isinstance(source, LadderSource):
        return source.per_rung * rungs
    if isinstance(source, FileSource):
        with Path(source.path).open("rb") as stream:
            return sum(1 for line in stream if line.strip())
    rows = find_facts(source).rows
    if isinstance(source, RowsSource):
        ladder = parse_ladder_path(source.path)
        return round((rows if ladder is None else ladder.per_rung * rungs) * source.fraction)
    return rows if source.size == "all" else source.size


def mean_tokens(sources: Sequence[TrainingSource], rungs: int) -> MeanTokens:
    """Return the mean tokens of sources of training data, weighted by their rows."""
    # A source with an unknown number of rows counts as one row.
    weights = [max(count_rows(source, rungs), 1) for source in sources]
    facts = [find_facts(source) for source in sources]
    return MeanTokens(
        fmean([fact.question_tokens for fact in facts], weights) + TEMPLATE_TOKENS,
        fmean([fact.answer_tokens for fact in facts], weights),
    )


def problem_sources(params: Params) -> list[TrainingSource]:
    """Return the sources whose rows become problems."""
    return [
        source
        for source in params.prepare.train
        if not (isinstance(source, RowsSource) and source.target == "conversations")
    ]
