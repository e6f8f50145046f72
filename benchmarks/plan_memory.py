"""Measure the memory of a training's plan at the published sizes, beside the token cache.

For the recipes ``sdat`` and ``paradigm`` it writes as many examples as they train on, of about
their lengths, and tokenizes them once. Another process then reads the cache and plans the run
with the recipe's settings, as each process of a training does. Its memory is what it allocated
(resident, not of files): the peak less that before the examples were read. Prints a line for
each recipe, with the aim of 1 GiB as the peer. Needs the base model (``dvc repro model``).

    python -m benchmarks.plan_memory [RECIPE ...]
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import numpy as np

from benchmarks.report import print_line, run_module
from stages.lib.core.paths import CONF, MODELS
from stages.lib.core.schema import Example, Turn
from stages.lib.core.tables import write_parquet
from stages.lib.models.loading import load_tokenizer
from stages.lib.params.compose import compose
from stages.lib.params.data import Prompts
from stages.lib.params.training import Train
from stages.lib.sft.batches import plan_training
from stages.lib.sft.tokens import ExampleFile, TokenizedExamples, tokenize_examples

MODULE = "benchmarks.plan_memory"
AIM_GIB = 1.0
POLL_S = 0.02
WORDS = ("the", "sum", "of", "two", "apples", "is", "five", "so", "we", "get", "what", "remains")


@dataclass(frozen=True)
class Size:
    """How many examples a recipe has, and the mean words of their questions and responses."""

    examples: int
    question: int
    response: int


SIZES = {"sdat": Size(168_810, 60, 95), "paradigm": Size(931_935, 60, 350)}


def make_examples(size: Size) -> Iterator[Example]:
    """Yield examples of varied lengths."""
    rng = np.random.default_rng(1)
    # Mean 1; a few are three times as long.
    lengths = rng.lognormal(-0.18, 0.6, (size.examples, 2))
    for number, (question, response) in enumerate(lengths):
        turn = Turn(
            _text(rng, 1 + int(size.question * question)),
            _text(rng, 1 + int(size.response * response)),
        )
        yield Example(f"{number:016x}", "made", "cot", [turn], repeats=1, weight=1.0)


def _text(rng: np.random.Generator, count: int) -> str:
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=count))


def settings_of(recipe: str) -> Train:
    """Return the training settings of a recipe; examples that are too long are dropped."""
    values = compose([f"recipe={recipe}"], CONF)["train"]
    return Train.model_validate(values | {"overlong": "drop"})


def tokenized(folder: Path, recipe: str) -> TokenizedExamples:
    """Return the examples of the folder from its cache, which the first call fills."""
    prompts = Prompts(format="alpaca", system="", stop=[])
    tokenizer = load_tokenizer(MODELS / "base")
    file = ExampleFile(folder / "examples.parquet")
    return tokenize_examples(file, tokenizer, prompts, settings_of(recipe), folder / "cache")


def fill(folder: Path, recipe: str) -> None:
    """Write the examples and tokenize them; print the rate."""
    size = SIZES[recipe]
    write_parquet(folder / "examples.parquet", make_examples(size))
    start = time.perf_counter()
    tokenized(folder, recipe)
    print(json.dumps({"rate": size.examples / (time.perf_counter() - start)}))


def plan(folder: Path, recipe: str) -> None:
    """Plan the run and build some rows; print the memory that this took, in GiB."""
    load_tokenizer(MODELS / "base")
    peak, done = [0.0], Event()

    def watch() -> None:
        while not done.wait(POLL_S):
            peak[0] = max(peak[0], anonymous_gib())

    before = anonymous_gib()
    Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    data = tokenized(folder, recipe)
    read = time.perf_counter() - start
    planned = plan_training(data, settings_of(recipe))
    seconds = time.perf_counter() - start - read
    for index in range(100):
        planned.row(index)
    held = anonymous_gib() - before
    done.set()
    print(
        json.dumps(
            {
                "peak": max(peak[0] - before, held),
                "held": held,
                "read_s": read,
                "plan_s": seconds,
                "tokens": sum(data.lengths),
                "rows": len(planned.micro_batches),
            }
        )
    )


def anonymous_gib() -> float:
    """Return the resident memory of this process that is not of a file."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 2**20
    raise ValueError("/proc/self/status: no RssAnon: expected Linux 4.5 or later")


def main(recipes: list[str]) -> None:
    """Measure recipes, or be one of the two processes of a measurement."""
    if recipes[:1] == ["fill"]:
        fill(Path(recipes[1]), recipes[2])
    elif recipes[:1] == ["plan"]:
        plan(Path(recipes[1]), recipes[2])
    else:
        for recipe in recipes or SIZES:
            with TemporaryDirectory() as folder:
                rate = run_module(MODULE, "fill", folder, recipe)["rate"]
                result = run_module(MODULE, "plan", folder, recipe)
            print_line(
                f"plan of {recipe}",
                ours=result["peak"],
                peer=AIM_GIB,
                unit="GiB",
                against="aim",
                better="less",
                examples=SIZES[recipe].examples,
                tokenized_per_second=round(rate),
                **{name: round(value, 2) for name, value in result.items()},
            )


if __name__ == "__main__":
    main(sys.argv[1:])
