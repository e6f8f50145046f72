"""Describe arms, quantization and training data in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.lib.analysis.models import calibration_kind, has_difficulty
from stages.lib.params.data import FileSource, LadderSource, RowsSource, TrainingSource
from stages.lib.params.quantization import Gptq, Int8, Nf4, Rtn, quantized_models
from stages.lib.params.root import Params
from stages.lib.params.strategies import (
    AntiFocalArm,
    Arm,
    AsftArm,
    BandArm,
    ControlArm,
    ConversationsArm,
    CurriculumArm,
    DartArm,
    FactorArm,
    FocalArm,
    FrontierArm,
    MasteryArm,
    PlannedArm,
    PriftArm,
    RepeatArm,
    UnguidedArm,
    UniformArm,
    Weigh,
    WeightArm,
)
from stages.lib.provenance.ladder_path import parse_ladder_path

CALIBRATIONS = {"training": "of its training examples", "text": "paragraphs of Wikipedia"}

REPLAYS = {
    "dealt": "each cell has the weights of another cell",
    "yoked": "each cell has the mean of its own throughout",
}


def strategy(weigh: Weigh, name: str) -> str:
    """Return in words what an arm, or a replay, does with the training problems."""
    if name in weigh.replays:
        replay = weigh.replays[name]
        return f"A control with the weights that `{replay.arm}` had: {REPLAYS[replay.cells]}."
    match weigh.arms[name]:
        case UniformArm():
            return "Every example once per epoch."
        case RepeatArm(base=base, factor=factor):
            return (
                f"Every example ⌊{base:g} + {factor:g} · level⌋ times per epoch; harder problems "
                "have higher levels."
            )
        case WeightArm(base=base, factor=factor):
            return (
                f"Every example once per epoch, its loss weighted by {base:g} + {factor:g} · "
                "level; harder problems have higher levels."
            )
        case BandArm(low=low, high=high):
            return f"Problems with a pass rate from {low:.0%} to {high:.0%}."
        case CurriculumArm(pace=pace):
            return f"From easy to hard; every example takes part after {pace:.0%} of the steps."
        case FocalArm() | AntiFocalArm() | AsftArm() | PriftArm() as arm:
            return f"Every example once per epoch, {_loss_rule(arm)}."
        case DartArm(strategy="dart_uniform", per_problem=count):
            return f"Up to {count} of the base model's own correct samples of each problem."
        # The class has two strategies; the case above takes the other one.
        case DartArm(per_problem=count):
            return (
                f"Up to {count} of the base model's own correct samples of each problem, in "
                "proportion to its fail rate."
            )
        case FrontierArm() | MasteryArm() | PlannedArm() as arm:
            return f"Sources and promptings are drawn {_online_rule(arm)}."
        case ConversationsArm(sources=sources):
            names = " and ".join(f"`{name}`" for name in sources)
            return f"Every conversation of {names} once per epoch; loss on every response."
        case ControlArm(control_of=original):
            return f"A control: what the arm `{original}` does, but to random problems."


def _loss_rule(arm: FactorArm) -> str:
    match arm:
        case FocalArm(gamma=gamma, level=level):
            return (
                f"its loss weighted by (1 − p)^{gamma:g}, p the model's own probability of the "
                f"{level}"
            )
        case AntiFocalArm(scale=scale):
            return f"its loss weighted by exp(−{scale:g} · the loss of its response)"
        case AsftArm(anchor=anchor):
            return (
                "each token's loss weighted by its own probability, and "
                f"{anchor:g} times the divergence from the base model added"
            )
        case PriftArm():
            return "each token's loss weighted by its probability for the base model"


def _online_rule(arm: FrontierArm | MasteryArm | PlannedArm) -> str:
    match arm:
        case FrontierArm():
            return (
                "more often if more tokens would raise their accuracy A more, by −A ln A; A is "
                "estimated from the losses of fresh examples"
            )
        case MasteryArm():
            return "more often if fewer of their fresh responses are reproduced exactly"
        case PlannedArm():
            return (
                "as often as their learning curves, fitted from time to time, say that the rest "
                "of the run should train on them"
            )


def uses_difficulty(params: Params) -> bool:
    """Return whether some arm treats problems by their difficulty."""
    return any(follows_difficulty(params, name) for name in params.weigh.arms)


def follows_difficulty(params: Params, name: str) -> bool:
    """Return whether an arm, or a replay, treats problems by their difficulty."""
    if not has_difficulty(params.sample, params.score) or name in params.weigh.replays:
        return False
    return not isinstance(_source_arm(params.weigh.arms, name), UnguidedArm)


def reads_base(params: Params, name: str) -> bool:
    """Return whether an arm's training has the frozen base model read every example."""
    arms = params.weigh.arms
    return name in arms and isinstance(_source_arm(arms, name), AsftArm | PriftArm)


def share_permutation(weigh: Weigh, runs: Sequence[str]) -> bool:
    """Return whether two of an arm's runs are controls with the same permutation of problems.

    Controls of arms with a loss factor are left out: they permute during training, by the
    training seed.
    """
    seeds = [
        weigh.seed if arm.seed is None else arm.seed
        for run in runs
        if isinstance(arm := weigh.arms.get(run), ControlArm)
        and not isinstance(_source_arm(weigh.arms, run), FactorArm)
    ]
    return len(set(seeds)) < len(seeds)


def quantization(params: Params, model: str) -> str:
    """Return in a few words how a model was quantized."""
    quantize = params.quantize
    groups = "one group a row" if quantize.group_size == -1 else f"group size {quantize.group_size}"
    grid = f"{groups}, {'' if quantize.symmetric else 'a'}symmetric"
    match quantized_models(quantize)[model]:
        case Gptq(bits=bits) as gptq:
            return (
                f"GPTQ, {bits} bits, {grid}, calibrated on {quantize.calibration.examples} "
                f"{_calibration(gptq)}"
            )
        case Rtn(bits=bits):
            return f"round to nearest, {bits} bits, {grid}"
        case Nf4():
            return "bitsandbytes, 4-bit normal floats with double quantization"
        case Int8():
            return "bitsandbytes, LLM.int8()"


def _calibration(model: Gptq) -> str:
    kind = calibration_kind(model)
    if kind.startswith("training of"):
        return f"training examples of `{Path(model.calibrate_on).stem}`"
    return CALIBRATIONS.get(kind, f"texts of the file `{kind}`")


def training_source(params: Params, arm: Arm | None) -> str:
    """Return the source of an arm's conversations; for other arms and None, of the problems."""
    names = arm.sources if isinstance(arm, ConversationsArm) else [None]
    return "; ".join(
        _describe(source, params.prepare.rungs)
        for source in params.prepare.train
        if _conversations(source) in names
    )


def _source_arm(arms: Mapping[str, Arm], name: str) -> Arm:
    """Return the arm whose training data is used; for a control, the arm of ``control_of``."""
    arm = arms[name]
    return arms[arm.control_of] if isinstance(arm, ControlArm) else arm


def _conversations(source: TrainingSource) -> str | None:
    """Return the name of a source of conversations, None for one of problems."""
    if isinstance(source, RowsSource) and source.target == "conversations":
        return source.name
    return None


def _describe(source: TrainingSource, rungs: Sequence[str]) -> str:
    match source:
        case LadderSource(per_rung=count):
            return _describe_ladder(count, rungs)
        case FileSource(path=path):
            return f"the file `{Path(path).name}`"
        case RowsSource():
            if ladder := parse_ladder_path(source.path):
                suffix = " without steps" if ladder.bare else ""
                text = _describe_ladder(ladder.per_rung, rungs)
                return f"{text}, written as {source.format} rows{suffix}"
            share = "" if source.fraction == 1 else f"{source.fraction:.0%} of "
            path = source.path.removeprefix("hub:")
            return f"{share}{source.name} (`{path}`, {source.format} rows, {source.license})"


def _describe_ladder(per_rung: int, rungs: Sequence[str]) -> str:
    return (
        f"{per_rung} problems of each of the {len(rungs)} rungs of an arithmetic ladder "
        f"({', '.join(rungs)})"
    )
