"""Training examples as tokens, from a cache on disk that all arms and processes share.

Texts are read from the arm's file in batches and never held: an arm may have a million.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import transformers
from datasets import Dataset, Features, List, Value
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from stages.lib.core.files import file_sha256
from stages.lib.core.schema import Example, ExampleInfo
from stages.lib.core.tables import scan_parquet
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.prompts import templates
from stages.lib.prompts.tokenize import TokenizedExample, describe_length, tokenize_batch
from stages.lib.runtime import console

_FEATURES = Features({"ids": List(Value("int32")), "loss_mask": List(Value("bool"))})

# Examples that are tokenized together.
_BATCH = 1000


@dataclass(frozen=True)
class ExampleFile:
    """The examples of a file, which are read again each time they are iterated."""

    path: Path

    def __iter__(self) -> Iterator[Example]:
        """Yield the examples, of which a batch is held in memory."""
        return scan_parquet(self.path, Example)


@dataclass(frozen=True)
class TokenizedExamples:
    """Examples of an allowed length; their tokens are read from disk when indexed.

    ``lengths`` and ``supervised`` count the tokens of each example and those that are
    learned. ``overlong`` counts the examples of a run that had too many. ``table`` holds the
    tokens of the examples at ``rows``, which may be more than ``max_length``.
    """

    examples: list[ExampleInfo]
    lengths: list[int]
    supervised: list[int]
    overlong: int
    table: Dataset
    rows: list[int]
    max_length: int

    def __len__(self) -> int:
        """Return how many examples there are."""
        return len(self.examples)

    def __getitem__(self, index: int) -> TokenizedExample:
        """Return the tokens of one example."""
        row = self.table[self.rows[index]]
        tokens = TokenizedExample(row["ids"], row["loss_mask"], self.examples[index].weight)
        return tokens.first(self.max_length)


def tokenize_examples(
    examples: Iterable[Example],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    settings: Train,
    cache: Path,
) -> TokenizedExamples:
    """Tokenize examples and apply ``settings.overlong`` to those above ``settings.max_length``.

    ``examples`` are iterated twice if the cache lacks them. An overlong example is an error, is
    dropped, or is truncated and so loses its end of turn; one whose prompt alone fills
    ``max_length`` is dropped. An overlong example that is never repeated is dropped without an
    error and is not counted. ``cache`` is a folder of this tokenizer alone. Raises ValueError for
    that error, and if every example were dropped.
    """
    limit = settings.max_length
    table, all_examples = _token_table(examples, tokenizer, prompts, cache)
    lengths, supervised = _count_tokens(table, limit)
    is_overlong = lengths > limit
    if settings.overlong == "error":
        for row in np.flatnonzero(is_overlong):
            if all_examples[row].repeats:
                length = describe_length(all_examples[row], int(lengths[row]))
                raise ValueError(f"train.max_length: {limit}: {length}")
    fits = (supervised > 0) & (~is_overlong | (settings.overlong == "truncate"))
    rows = np.flatnonzero(fits).tolist()
    if all_examples and not rows:
        raise ValueError(f"train.max_length: {limit}: all {len(all_examples)} examples are longer")
    return TokenizedExamples(
        [all_examples[row] for row in rows],
        np.minimum(lengths[fits], limit).tolist(),
        supervised[fits].tolist(),
        sum(1 for row in np.flatnonzero(is_overlong) if all_examples[row].repeats),
        table,
        rows,
        limit,
    )


def _token_table(
    examples: Iterable[Example], tokenizer: PreTrainedTokenizerBase, prompts: Prompts, cache: Path
) -> tuple[Dataset, list[ExampleInfo]]:
    """Return the ids and the loss mask of each example, memory-mapped from the cache.

    With it comes all else that is known of the examples. The first process to ask fills the cache,
    under a lock; arms with the same texts share it.
    """
    # The key covers all that determines the tokens, including the code of the templates.
    code = [file_sha256(path) for path in sorted(Path(templates.__file__).parent.glob("*.py"))]
    prompts_key = templates.describe_prompts(prompts)
    key = sha256(repr((transformers.__version__, code, prompts_key)).encode())
    infos: list[ExampleInfo] = []
    for example in examples:
        infos.append(example.info())
        key.update(repr((example.system, example.turns)).encode())
    if not infos:
        return Dataset.from_dict({"ids": [], "loss_mask": []}, features=_FEATURES), infos

    def tokenized() -> Iterator[dict[str, list[int] | list[bool]]]:
        start = time.perf_counter()
        remaining = iter(examples)
        while batch := list(islice(remaining, _BATCH)):
            for tokens in tokenize_batch(batch, tokenizer, prompts):
                yield {"ids": tokens.ids, "loss_mask": tokens.loss_mask}
        seconds = time.perf_counter() - start
        console.log_line(f"tokenized {len(infos):,} examples, {len(infos) / seconds:,.0f}/s")

    try:
        table = Dataset.from_generator(
            tokenized, features=_FEATURES, cache_dir=str(cache), fingerprint=key.hexdigest()[:16]
        )
    except DatasetGenerationError as error:
        # Re-raise the template's own error, which this one hides.
        raise error.__cause__ or error from None
    return cast(Dataset, table), infos


def _count_tokens(table: Dataset, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the length of each example, and its supervised tokens among the first ``limit``."""
    lengths: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    supervised: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    # As columns of a part of the table: one example after the other would take minutes.
    for chunk in table.data.column("loss_mask").chunks:
        bounds = chunk.offsets.to_numpy().astype(np.int64)
        before = np.concatenate([[0], chunk.values.to_numpy(zero_copy_only=False).cumsum()])
        lengths.append(np.diff(bounds))
        ends = bounds[:-1] + np.minimum(lengths[-1], limit)
        supervised.append(before[ends] - before[bounds[:-1]])
    return np.concatenate(lengths), np.concatenate(supervised)
