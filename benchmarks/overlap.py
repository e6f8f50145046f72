"""Seconds to find the training questions that overlap with a benchmark, on one core.

Both checks of ``prepare``: 13 words as they are, and 8 with numbers made the same. The peer
holds the n-grams of each text as a set and intersects the sets of every pair, as short
scripts do; it sees fewer training questions, and its time is scaled to all of them.
Without arguments, the training questions are made by Reasoning Gym from templates of the
benchmark, the GSM8K test set, and are as many as GSM8K has.

    python -m benchmarks.overlap [TRAIN.jsonl TEST.jsonl]
"""

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import reasoning_gym

from benchmarks.report import line
from stages.lib.data import packaged
from stages.lib.data.decontamination import Overlap, find_overlaps

KINDS = {"words": (13, False), "template": (8, True)}
MADE, SEED = 7473, 1
PEER_SEES = 500


def questions(path: Path) -> list[str]:
    """Return the questions of a JSON Lines file."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(one)["question"] for one in lines]


def made_up() -> tuple[list[str], list[str]]:
    """Return made training questions and those of the GSM8K test set."""
    drawn = reasoning_gym.create_dataset("gsm_symbolic", size=MADE, seed=SEED)
    return [one["question"] for one in drawn], [one.question for one in packaged.gsm8k()]


def ours(training: Sequence[str], evaluation: Sequence[str]) -> dict[str, list[Overlap]]:
    """Run both checks."""
    return {
        kind: find_overlaps(training, evaluation, n=n, mask_numbers=normalised)
        for kind, (n, normalised) in KINDS.items()
    }


def peer(training: Sequence[str], evaluation: Sequence[str]) -> dict[str, int]:
    """Intersect sets of n-grams pair by pair; return the numbers of overlapping questions."""
    found = {}
    for kind, (n, normalised) in KINDS.items():
        left, right = (
            [_grams(text, n, normalised) for text in of] for of in (training, evaluation)
        )
        found[kind] = sum(any(one & other for other in right) for one in left)
    return found


def _grams(text: str, n: int, normalised: bool) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    if normalised:
        words = ["0" if word.isdigit() else word for word in words]
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


def main() -> None:
    """Measure both sides."""
    paths = [Path(name) for name in sys.argv[1:]]
    training, evaluation = [questions(path) for path in paths] if paths else made_up()
    started = time.process_time()
    found = ours(training, evaluation)
    seconds = time.process_time() - started
    some = training[:: max(1, len(training) // PEER_SEES)]
    started = time.process_time()
    peer(some, evaluation)
    of_peer = (time.process_time() - started) * len(training) / len(some)
    print(
        line(
            "overlap",
            ours=seconds,
            peer=of_peer,
            unit="s",
            against="a set of n-grams per text, every pair",
            better="less",
            training=len(training),
            evaluation=len(evaluation),
            found={kind: len(pairs) for kind, pairs in found.items()},
        )
    )


if __name__ == "__main__":
    main()
