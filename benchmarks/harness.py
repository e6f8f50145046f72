"""Seconds from start to accuracy: our evaluation against lm-evaluation-harness.

It also cross-checks the accuracy: the harness (its transformers backend, in a separate
environment) answers the ladder with the same model in bf16 from the same prompts, compared
token by token, and grades with its own filter and metric (``benchmarks/ladder.yaml``). Each
side is a process, timed from its start to its end. The harness gets batches of 64: of 8, 32,
64, 128 and 280, those of 64 and more take about the same time on two cores, and smaller ones
longer. Both times need an idle machine.

``accuracy`` has three values: ours, the harness's by its own grader, and that of the harness's
texts by our grader. ``repeat`` is our accuracy with at most half as many sequences at a time
(bf16 sums are then rounded in another order), and the share of problems on which that changes
the grade. ``grades_differ`` is the share on which our grader's grades on the two sides'
texts differ. ``agree`` says whether the harness's accuracy, by either grader, differs from ours
by at most that share.

    make harness
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import PreTrainedTokenizerBase

from benchmarks.report import print_line, run_module
from stages.lib.core.files import write_json
from stages.lib.core.paths import LOGS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.generations.answers import read_benchmarks
from stages.lib.models import loading
from stages.lib.params.data import Prompts
from stages.lib.params.load import load_params
from stages.lib.params.sampling import EngineConfig
from stages.lib.prompts.templates import problem_prompt, prompt_text, user_message
from stages.lib.runtime import console
from tools.export.agreement import is_correct

MODEL = MODELS / "uniform"  # a tuned model ends its answers
BENCHMARK = "ladder"
TASK = Path("benchmarks/ladder.yaml")
BATCH = 64

HARNESS = Path(".venv-harness")
FOLDER = LOGS / "harness"
DOCUMENTS = FOLDER / "documents.json"


def load_problems() -> list[Problem]:
    """Return the problems that both sides answer."""
    return read_benchmarks([BENCHMARK])[BENCHMARK]


def prompts(
    tokenizer: PreTrainedTokenizerBase, settings: Prompts, problems: Sequence[Problem]
) -> list[tuple[int, ...]]:
    """Return the zero-shot prompts as the ``evaluate`` stage encodes them."""
    return [problem_prompt(tokenizer, settings, problem, "cot", []) for problem in problems]


def documents(
    tokenizer: PreTrainedTokenizerBase, settings: Prompts, problems: Sequence[Problem]
) -> list[dict[str, str]]:
    """Return the same prompts as texts, with the reference answers."""
    return [
        {
            "prompt": prompt_text(tokenizer, settings, user_message(problem.question, "cot")),
            "answer": problem.answer,
        }
        for problem in problems
    ]


def measure_ours(limits: EngineConfig) -> list[bool]:
    """Answer and grade as the stages do; return the grades."""
    from stages.lib.generations.requests import Request, Sampling
    from stages.lib.inference.engine import Engine

    params, problems = load_params(), load_problems()
    inputs = prompts(loading.load_tokenizer(MODEL), params.prompts, problems)
    requests = [
        Request(problem.id, "cot", 0, 0, prompt, params.evaluate.max_tokens[BENCHMARK])
        for problem, prompt in zip(problems, inputs, strict=True)
    ]
    stop = tuple(params.prompts.stop)
    greedy = Sampling(temperature=0.0, top_p=1.0, seed=0, stop=stop)
    answers = Engine(MODEL, limits).generate(requests, greedy, lambda _: None)
    return is_correct(problems, [text for text, _, _ in answers])


def measure_peer() -> tuple[float, list[dict[str, Any]]]:
    """Run the harness; return its seconds and its samples, in order of the problems."""
    params = load_params()
    limit = params.evaluate.max_tokens[BENCHMARK]
    generation = json.dumps({"max_gen_toks": limit, "until": params.prompts.stop})
    command = [HARNESS / "bin/lm_eval", "run", "--tasks", TASK, "--model", "hf", "--device", "cpu"]
    command += ["--model_args", model_args(), "--gen_kwargs", generation]
    command += ["--batch_size", str(BATCH), "--output_path", FOLDER, "--log_samples"]
    started = time.monotonic()
    with (FOLDER / "lm_eval.log").open("w", encoding="utf-8") as log:
        subprocess.run(command, env=harness_environment(), stdout=log, stderr=log, check=True)
    seconds = time.monotonic() - started
    (path,) = FOLDER.rglob("samples_*.jsonl")
    samples = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
    return seconds, sorted(samples, key=lambda sample: sample["doc_id"])


def model_args() -> str:
    """Return the harness's settings of the model, as JSON."""
    # As in our ``encode_prompts``: a chat template already contains the special tokens.
    special = load_params().prompts.format == "alpaca"
    return json.dumps({"pretrained": str(MODEL), "dtype": "bfloat16", "add_bos_token": special})


def harness_environment() -> dict[str, str]:
    """Return the harness's environment variables: all cores, offline, a separate cache."""
    own = {"OMP_NUM_THREADS": str(os.cpu_count()), "HF_HUB_OFFLINE": "1"}
    return os.environ | own | {"HF_HOME": str(FOLDER / "cache")}


def check_installed() -> None:
    """Exit with a one-line message if the harness is not installed."""
    if not (HARNESS / "ready").exists():
        console.log_line(f"harness: {HARNESS} is not there or not complete: run `make harness`")
        sys.exit(1)


def write_documents() -> None:
    """Write the harness's documents. Raises ValueError if it encodes a prompt differently."""
    settings, problems = load_params().prompts, load_problems()
    tokenizer = loading.load_tokenizer(MODEL)
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_json(DOCUMENTS, documents(tokenizer, settings, problems))
    process = subprocess.run(
        [HARNESS / "bin/python", "benchmarks/harness_tokens.py", model_args(), DOCUMENTS],
        env=harness_environment(),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    harness_ids = [tuple(ids) for ids in json.loads(process.stdout.splitlines()[-1])]
    if harness_ids != prompts(tokenizer, settings, problems):
        raise ValueError(f"{DOCUMENTS}: the harness encodes the prompts to other tokens than we do")


def timed(side: str) -> tuple[float, list[bool]]:
    """Run one of our sides in a process; return its seconds and grades."""
    started = time.monotonic()
    result = run_module("benchmarks.harness", side)
    return time.monotonic() - started, result["grades"]


def differing(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the share of problems on which two lists of grades differ."""
    return fmean(a != b for a, b in zip(first, second, strict=True))


def main() -> None:
    """Measure both sides."""
    limits = load_params().engine
    halved = limits.model_copy(update={"max_num_seqs": (limits.max_num_seqs or BATCH) // 2})
    # A process that ``timed`` started measures one of our sides.
    if len(sys.argv) > 1:
        chosen = {"ours": limits, "repeated": halved}[sys.argv[1]]
        print(json.dumps({"grades": measure_ours(chosen)}))
        return
    check_installed()
    write_documents()
    seconds, first = timed("ours")
    _, again = timed("repeated")
    peer_seconds, samples = measure_peer()
    our_grades = is_correct(load_problems(), [sample["resps"][0][0] for sample in samples])
    harness_accuracy = fmean(sample["exact_match"] for sample in samples)
    accuracies = [fmean(first), harness_accuracy, fmean(our_grades)]
    allowed = differing(first, again)
    print_line(
        "harness",
        ours=seconds,
        peer=peer_seconds,
        unit="s",
        against="lm-evaluation-harness",
        better="less",
        accuracy=[round(share, 4) for share in accuracies],
        repeat=[round(fmean(again), 4), round(allowed, 4)],
        grades_differ=round(differing(first, our_grades), 4),
        agree=max(abs(other - accuracies[0]) for other in accuracies[1:]) <= allowed,
    )


if __name__ == "__main__":
    main()
