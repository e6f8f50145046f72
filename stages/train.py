"""Fine-tune the base model on one arm's examples.

Reads the base model and ``data/training/<arm>.parquet`` (and, if ``train.validation`` is above
0, all training problems and conversations, to choose among them). Writes ``data/models/<arm>/``,
with adapters merged; DVCLive's tables in ``reports/training/<arm>/`` (loss, learning rate and
gradient norm by step, and the validation loss where it was measured), with ``allocation.csv``
(what each cell got over time); and ``reports/training/<arm>.json`` (number of trained
parameters, the step whose parameters were kept and its validation loss, how many examples were
shown and how many were too long). Checkpoints are in ``data/checkpoints/`` until the run is
complete: a killed run resumes from the last one, if nothing that it depends on has changed.

    python -m stages.train ARM
"""

from stages.lib.core.paths import TRAINING
from stages.lib.core.settings import overlay
from stages.lib.mixing.cells import group_by_cell
from stages.lib.mixing.rules import rule_of
from stages.lib.params.load import load_params
from stages.lib.params.strategies import Arm, OnlineGroup
from stages.lib.params.training import Train
from stages.lib.runtime import console
from stages.lib.sft.batches import Plan, plan_training
from stages.lib.sft.online import OnlinePlan
from stages.lib.sft.run import fine_tune
from stages.lib.sft.tokens import TokenizedExamples
from stages.lib.training import distributed


def main(name: str) -> None:
    """Train an arm, in several processes if ``train.launch`` says so."""
    params = load_params()
    if name not in params.weigh.arms:
        raise ValueError(f"weigh.arms: {name!r}: expected one of {list(params.weigh.arms)}")
    arm = params.weigh.arms[name]
    settings = overlay(params.train, arm.train)
    if settings.launch is not None and not console.is_worker():
        distributed.launch_processes(settings.launch, "train", name)
        return
    fine_tune(
        name,
        TRAINING / f"{name}.parquet",
        settings,
        params.prompts,
        lambda data: plan_arm(data, arm, settings),
        validation_seed=params.train.seed,
        plan_inputs=[repr(arm)],
    )


def plan_arm(data: TokenizedExamples, arm: Arm, settings: Train) -> Plan:
    """Plan an arm's run: all of it beforehand, or as an online arm's mixture changes."""
    if not isinstance(arm, OnlineGroup):
        return plan_training(data, settings)
    cells = group_by_cell(data.examples)
    rule = rule_of(arm, cells, data.supervised, settings)
    return OnlinePlan(data, settings, cells, rule, every=arm.every)


if __name__ == "__main__":
    console.run_stage("train", main, item="arm")
