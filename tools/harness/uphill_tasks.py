"""Read and grade a benchmark of Uphill in lm-evaluation-harness.

Copied beside the tasks that name its functions, so it imports nothing of the repository. It needs
``math-verify``.
"""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset
from math_verify import (
    ExprExtractionConfig,
    LatexExtractionConfig,
    StringExtractionConfig,
    parse,
    verify,
)


def load(file: str, **_: Any) -> dict[str, Dataset]:
    """Return the problems in a file beside this one, as the split ``test``."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    return {"test": Dataset.from_list([json.loads(line) for line in text.splitlines()])}


def grade(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether the answer that Math-Verify finds in a response equals the reference.

    ``letters`` of a problem name its options, and are empty if it has none.
    """
    letters, reference = doc["letters"], doc["answer"]
    targets: Any = [LatexExtractionConfig(), ExprExtractionConfig()]
    if letters:
        targets = [StringExtractionConfig(strings=tuple(letters))]
    expected = parse(reference if letters else f"${reference}$", targets)
    return {"exact_match": float(verify(expected, parse(results[0], targets)))}
