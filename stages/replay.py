"""Fine-tune the base model with the weights that an online arm had: its control.

Reads the base model, the arm's ``data/training/<arm>.parquet`` and its weights over time,
``reports/training/<arm>/allocation.csv``. For the entry ``weigh.replays.<name>`` it writes what
the stage ``train`` writes for an arm. Both train with the arm's own settings.

    python -m stages.replay NAME
"""

from stages.lib.core.files import file_sha256
from stages.lib.core.paths import TRAINING, TRAINING_LOGS
from stages.lib.core.settings import overlay
from stages.lib.mixing.cells import group_by_cell
from stages.lib.mixing.rules import Trace, averaged, permuted
from stages.lib.params.load import load_params
from stages.lib.params.strategies import OnlineGroup, Replay
from stages.lib.params.training import Train
from stages.lib.runtime import console
from stages.lib.sft.allocation import read_trace
from stages.lib.sft.online import OnlinePlan
from stages.lib.sft.run import fine_tune
from stages.lib.sft.tokens import TokenizedExamples
from stages.lib.training import distributed


def main(name: str) -> None:
    """Train a replay, in several processes if ``train.launch`` says so."""
    params = load_params()
    weigh = params.weigh
    if name not in weigh.replays:
        raise ValueError(f"weigh.replays: {name!r}: expected one of {list(weigh.replays)}")
    replay = weigh.replays[name]
    arm = weigh.arms[replay.arm]
    assert isinstance(arm, OnlineGroup)  # as weigh.replays is checked
    settings = overlay(params.train, arm.train)
    if settings.launch is not None and not console.is_worker():
        distributed.launch_processes(settings.launch, "replay", name)
        return
    fine_tune(
        name,
        TRAINING / f"{replay.arm}.parquet",
        settings,
        params.prompts,
        lambda data: plan_replay(data, replay, settings, every=arm.every),
        validation_seed=params.train.seed,
        plan_inputs=[
            repr(replay),
            repr(arm),
            file_sha256(TRAINING_LOGS / replay.arm / "allocation.csv"),
        ],
    )


def plan_replay(
    data: TokenizedExamples, replay: Replay, settings: Train, *, every: int
) -> OnlinePlan:
    """Plan a run by the weights of another one."""
    cells = group_by_cell(data.examples)
    trace = read_trace(TRAINING_LOGS / replay.arm / "allocation.csv", cells)
    weights = permuted(trace, seed=replay.seed) if replay.cells == "dealt" else averaged(trace)
    return OnlinePlan(data, settings, cells, Trace(weights), every=every)


if __name__ == "__main__":
    console.run_stage("replay", main, item="name")
