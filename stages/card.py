"""Write a card for every trained, GRPO or quantized model that was evaluated.

Reads the tables of the analysis, the reports of models and arms, and the parameters; the
license comes from the base model's own files. Writes ``reports/cards/<model>.md`` as
the Hugging Face Hub wants it, front matter included. ``python -m tools.publish`` sends it.

    python -m stages.card
"""

from functools import cache

from stages.lib.core.files import atomic_replace, read_json
from stages.lib.core.paths import (
    ARM_METRICS,
    CARDS,
    LIKELIHOOD_REPORTS,
    METRICS,
    MODEL_REPORTS,
    TRAINING_LOGS,
)
from stages.lib.params.load import load_params
from stages.lib.params.model_source import parse_source
from stages.lib.params.root import Params
from stages.lib.provenance.license import license_of
from stages.lib.provenance.origins import from_elsewhere, source_of
from stages.lib.provenance.versions import versions
from stages.lib.report import cards
from stages.lib.report.tables import read_rows
from stages.lib.runtime import console

PACKAGES = ("gptqmodel", "peft", "torch", "transformers", "trl", "vllm")


def main() -> None:
    """Write every card; the folder is replaced whole."""
    params = load_params()
    measured = read_measurements(params)
    package_versions = versions(PACKAGES)
    find_license = cache(license_of)  # several models have the same source
    with atomic_replace(CARDS) as tmp:
        tmp.mkdir()
        for model in params.evaluate.models:
            if model in from_elsewhere(params):
                continue
            license = find_license(parse_source(source_of(params, model)))
            text = cards.render(model, params, measured, license=license, versions=package_versions)
            (tmp / f"{model}.md").write_text(text, encoding="utf-8")


def read_measurements(params: Params) -> cards.CardInputs:
    """Read the tables and reports of other stages."""
    arms = list(params.weigh.arms)
    # A replay trains on the examples of its arm.
    trained_like = {name: replay.arm for name, replay in params.weigh.replays.items()}
    return cards.CardInputs(
        accuracy=read_rows("accuracy"),
        comparisons=read_rows("comparisons"),
        statuses=read_rows("statuses"),
        models={row["model"]: row for row in read_rows("models")},
        reports={
            name: read_json(MODEL_REPORTS / f"{name}.json")
            | read_json(LIKELIHOOD_REPORTS / f"{name}.json")
            for name in params.evaluate.models
        },
        training={
            name: read_json(TRAINING_LOGS / f"{name}.json")
            for name in [*arms, *trained_like, *params.grpo.models]
        },
        arm_metrics={
            name: read_json(ARM_METRICS / f"{arm}.json")
            for name, arm in ({arm: arm for arm in arms} | trained_like).items()
        },
        dropped=read_json(METRICS / "data.json")["dropped_for_overlap"],
    )


if __name__ == "__main__":
    console.run_stage("card", main, timed=False)
