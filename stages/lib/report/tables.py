"""Read the tables of the analysis."""

from typing import Any

from stages.lib.analysis.speeds import SPEEDS
from stages.lib.analysis.tables import read_frame
from stages.lib.core.paths import TABLES
from stages.lib.core.schema import STATUSES

_INTERVAL = ("", "_low", "_high")
_PAIR = ("benchmark", "first", "second", "answer_mode", "difference", "low", "high", "p_holm")

COLUMNS: dict[str, tuple[str, ...]] = {
    "accuracy": ("benchmark", "system", "answer_mode", "n", "accuracy", "low", "high"),
    "comparisons": (*_PAIR, "n", "p_sources", "discordant", "equivalent_within"),
    "models": ("model", "bits", "bytes", *(f"perplexity{end}" for end in _INTERVAL), *SPEEDS),
    "runs": _PAIR,
    "statuses": (
        *("benchmark", "system", "prompting", *STATUSES),
        *("cut", "follow_up", "first_option"),
    ),
    "styles": (
        *("benchmark", "system", "prompting", "median_tokens"),
        *(f"{name}{end}" for name in ("tokens", "steps", "stated") for end in _INTERVAL),
    ),
    "sampled": (
        *("benchmark", "system", "answer_mode", "measure", "k", "samples", "value"),
        *("standard_error", "low", "high"),
    ),
    "sampled_comparisons": (
        *("benchmark", "first", "second", "answer_mode", "n", "samples", "difference", "low"),
        *("high", "p_holm", "equivalent_within"),
    ),
}
"""The columns that cards, paper and page use of each table of ``reports/tables/``."""


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table; a missing value is nan.

    Raises ValueError naming the file for a missing column or an empty table. Only ``styles``
    may be empty: it has no rows if no pair is compared.
    """
    table = read_frame(TABLES / f"{name}.csv", COLUMNS[name], may_be_empty=name == "styles")
    return [dict(row) for row in table.to_dict("records")]
