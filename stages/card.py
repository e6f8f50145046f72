"""Write a card for every trained, GRPO or quantized model that was evaluated.

Reads the tables of the analysis, what was measured of models and arms, and the parameters;
the license comes from the base model's own files. Writes ``reports/cards/<model>.md`` as
the Hugging Face Hub wants it, front matter included. ``python -m tools.publish`` sends it.

    python -m stages.card
"""

import pandas as pd

from stages.lib.core.files import atomic_replace, read_json
from stages.lib.core.paths import ARM_METRICS, CARDS, METRICS, MODEL_REPORTS, TABLES, TRAINING_LOGS
from stages.lib.params.base_model import parse_base
from stages.lib.params.load import load_params
from stages.lib.params.root import Params
from stages.lib.provenance.license import license_of
from stages.lib.provenance.versions import versions
from stages.lib.report import cards
from stages.lib.runtime import console

PACKAGES = ("gptqmodel", "peft", "torch", "transformers", "trl", "vllm")


def main() -> None:
    """Write every card; the folder is replaced whole."""
    wanted = load_params()
    measured = read_measured(wanted)
    found = license_of(parse_base(wanted.model.base))
    made_with = versions(PACKAGES)
    with atomic_replace(CARDS) as aside:
        aside.mkdir()
        for model in cards.models_with_cards(wanted):
            text = cards.render(model, wanted, measured, license=found, versions=made_with)
            (aside / f"{model}.md").write_text(text, encoding="utf-8")


def read_measured(wanted: Params) -> cards.Measured:
    """Read what other stages measured."""
    accuracy, comparisons, statuses = (
        [dict(row) for row in pd.read_csv(TABLES / f"{name}.csv").to_dict("records")]
        for name in ("accuracy", "comparisons", "statuses")
    )
    sizes = pd.read_csv(TABLES / "models.csv").to_dict("records")
    arms = list(wanted.weigh.arms)
    return cards.Measured(
        accuracy=accuracy,
        comparisons=comparisons,
        statuses=statuses,
        models={row["model"]: dict(row) for row in sizes},
        reports={
            name: read_json(MODEL_REPORTS / f"{name}.json") for name in wanted.evaluate.models
        },
        training={
            name: read_json(TRAINING_LOGS / f"{name}.json") for name in [*arms, *wanted.grpo.models]
        },
        taught={arm: read_json(ARM_METRICS / f"{arm}.json") for arm in arms},
        dropped=read_json(METRICS / "data.json")["dropped_for_overlap"],
    )


if __name__ == "__main__":
    console.run_stage("card", main, timed=False)
