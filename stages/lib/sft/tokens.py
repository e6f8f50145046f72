"""Training examples as tokens, from a cache on disk that all arms and processes share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import transformers
from datasets import Dataset, Features, List, Value
from datasets.exceptions import DatasetGenerationError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from stages.lib.core.files import file_sha256
from stages.lib.core.schema import Example, content_id
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.prompts import templates
from stages.lib.prompts.tokenize import TokenizedExample, describe_length, tokenize

_FEATURES = Features({"ids": List(Value("int32")), "loss_mask": List(Value("bool"))})


@dataclass(frozen=True)
class TokenizedExamples:
    """Examples of an allowed length; their tokens are read from disk when indexed.

    ``lengths`` and ``supervised`` count the tokens of each example and those that are
    learned. ``overlong`` counts the examples of a run that had too many. ``table`` holds the
    tokens of the examples at ``rows``, which may be more than ``max_length``.
    """

    examples: list[Example]
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
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    settings: Train,
    cache: Path,
) -> TokenizedExamples:
    """Tokenize examples and apply ``settings.overlong`` to those above ``settings.max_length``.

    An overlong example is an error, is dropped, or is truncated and so loses its end of turn;
    one whose prompt alone fills ``max_length`` is dropped. An overlong example that is never
    repeated is dropped without an error and is not counted. ``cache`` is a folder of this
    tokenizer alone. Raises ValueError for that error, and if every example were dropped.
    """
    limit = settings.max_length
    table = _token_table(examples, tokenizer, prompts, cache)
    rows: list[int] = []
    lengths: list[int] = []
    supervised: list[int] = []
    overlong = 0
    # Arrays: as Python lists the masks of a large arm would take minutes to read.
    arrays = table.with_format("numpy", columns=["loss_mask"])
    for row, (example, columns) in enumerate(zip(examples, arrays, strict=True)):
        mask = cast(dict[str, NDArray[np.bool_]], columns)["loss_mask"]
        if len(mask) > limit and example.repeats:
            if settings.overlong == "error":
                length = describe_length(example, len(mask))
                raise ValueError(f"train.max_length: {limit}: {length}")
            overlong += 1
        if len(mask) > limit and settings.overlong != "truncate":
            continue
        if n_supervised := int(mask[:limit].sum()):
            rows.append(row)
            lengths.append(min(len(mask), limit))
            supervised.append(n_supervised)
    if examples and not rows:
        raise ValueError(f"train.max_length: {limit}: all {len(examples)} examples are longer")
    kept = [examples[row] for row in rows]
    return TokenizedExamples(kept, lengths, supervised, overlong, table, rows, limit)


def _token_table(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, prompts: Prompts, cache: Path
) -> Dataset:
    """Return the ids and the loss mask of each example, memory-mapped from the cache.

    The first process to ask fills the cache, under a lock; arms with the same texts share it.
    """
    if not examples:
        return Dataset.from_dict({"ids": [], "loss_mask": []}, features=_FEATURES)

    def tokenized() -> Iterator[dict[str, list[int] | list[bool]]]:
        for example in examples:
            tokens = tokenize(example, tokenizer, prompts)
            yield {"ids": tokens.ids, "loss_mask": tokens.loss_mask}

    # The key covers all that determines the tokens, including the code of the templates.
    code = [file_sha256(path) for path in sorted(Path(templates.__file__).parent.glob("*.py"))]
    texts = (repr((example.system, example.turns)) for example in examples)
    key = content_id(transformers.__version__, *code, repr(prompts), *texts)
    try:
        table = Dataset.from_generator(
            tokenized, features=_FEATURES, cache_dir=str(cache), fingerprint=key
        )
    except DatasetGenerationError as error:
        # Re-raise the template's own error, which this one hides.
        raise error.__cause__ or error from None
    return cast(Dataset, table)
