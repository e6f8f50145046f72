"""In words: what an arm does, what was done to weights, and what training data is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stages.lib.params.data import FileSource, LadderRows, LadderSource, RowsSource, TrainingSource
from stages.lib.params.quantization import Gptq, Int8, Nf4, Rtn
from stages.lib.params.root import Params
from stages.lib.params.strategies import (
    Arm,
    BandArm,
    ControlArm,
    ConversationsArm,
    CurriculumArm,
    DartArm,
    FocalArm,
    RepeatArm,
    UniformArm,
    Weigh,
    WeightArm,
)

CALIBRATIONS = {
    "training": "of its training examples",
    "difficulty": "of its training examples, drawn more often as their problems are failed",
    "text": "paragraphs of Wikipedia",
}


def strategy(arms: Mapping[str, Arm], name: str) -> str:
    """Return in words what an arm does with the training problems."""
    match arms[name]:
        case UniformArm():
            return "Every example once a pass."
        case RepeatArm(base=base, factor=factor):
            return f"Every example ⌊{base:g} + {factor:g} · level⌋ times a pass; harder is higher."
        case WeightArm(base=base, factor=factor):
            return (
                f"Every example once a pass, its loss weighted by {base:g} + {factor:g} · level; "
                "harder is higher."
            )
        case BandArm(low=low, high=high):
            return f"Problems that the base model solves in {low:.0%} to {high:.0%} of its samples."
        case CurriculumArm(pace=pace):
            return f"From easy to hard; every example takes part after {pace:.0%} of the steps."
        case FocalArm(gamma=gamma, level=level):
            return (
                f"Every example once a pass, its loss weighted by (1 − p)^{gamma:g}, p the model's "
                f"own probability of the {level}."
            )
        case DartArm(strategy="dart_uniform", per_problem=count):
            return f"Up to {count} of the base model's own correct samples of each problem."
        case DartArm(per_problem=count):
            return (
                f"Up to {count} of the base model's own correct samples of each problem, in "
                "proportion to its fail rate."
            )
        case ConversationsArm():
            return "Every conversation once a pass; all responses are learned."
        case ControlArm(control_of=of):
            return f"A control: what the arm `{of}` does, dealt to random problems."


def uses_difficulty(wanted: Params) -> bool:
    """Return whether some arm treats problems by how often the base model solves them."""
    lessons = [_source_arm(wanted.weigh.arms, name) for name in wanted.weigh.arms]
    blind = UniformArm | FocalArm | ConversationsArm
    return wanted.sample.k > 0 and any(not isinstance(one, blind) for one in lessons)


def share_permutation(weigh: Weigh, runs: Sequence[str]) -> bool:
    """Return whether two of an arm's runs are controls of one deal.

    Focal weights are dealt while the arm trains, by its own seed.
    """
    dealt = [
        weigh.seed_of(run)
        for run in runs
        if isinstance(weigh.arms.get(run), ControlArm)
        and not isinstance(_source_arm(weigh.arms, run), FocalArm)
    ]
    return len(set(dealt)) < len(dealt)


def quantization(wanted: Params, model: str) -> str:
    """Return what was done to the weights of a quantized model, in a few words."""
    shared = wanted.quantize
    groups = "one group a row" if shared.group_size == -1 else f"group size {shared.group_size}"
    grid = f"{groups}, {'' if shared.symmetric else 'a'}symmetric"
    match wanted.quantize.models[model]:
        case Gptq(bits=bits, calibrate_on=texts):
            return (
                f"GPTQ, {bits} bits, {grid}, calibrated on {shared.calibration.examples} "
                f"{CALIBRATIONS[texts]}"
            )
        case Rtn(bits=bits):
            return f"round to nearest, {bits} bits, {grid}"
        case Nf4():
            return "bitsandbytes, 4-bit normal floats with double quantization"
        case Int8():
            return "bitsandbytes, LLM.int8()"


def training_source(wanted: Params, taught: Arm | None) -> str:
    """Return where the problems come from, or the conversations of an arm of such."""
    parts = [
        _part(one, wanted.prepare.rungs)
        for one in wanted.prepare.train
        if (
            _conversations(one) in taught.sources
            if isinstance(taught, ConversationsArm)
            else _conversations(one) is None
        )
    ]
    return "; ".join(parts)


def _source_arm(arms: Mapping[str, Arm], name: str) -> Arm:
    """Return the arm that says what is learned: of a control, the one it is a control of."""
    arm = arms[name]
    return arms[arm.control_of] if isinstance(arm, ControlArm) else arm


def _conversations(source: TrainingSource) -> str | None:
    """Return the name of a source of conversations, None for one of problems."""
    if isinstance(source, RowsSource) and source.target == "conversations":
        return source.name
    return None


def _part(source: TrainingSource, rungs: Sequence[str]) -> str:
    match source:
        case LadderSource(per_rung=count):
            return _ladder(count, rungs)
        case FileSource(path=path):
            return f"the file `{Path(path).name}`"
        case RowsSource(ladder=LadderRows() as own):
            exclude = " without steps" if own.bare else ""
            return f"{_ladder(own.per_rung, rungs)}, written as {source.format} rows{exclude}"
        case RowsSource():
            share = "" if source.fraction == 1 else f"{source.fraction:.0%} of "
            where = source.path.removeprefix("hub:")
            return f"{share}{source.name} (`{where}`, {source.format} rows, {source.license})"


def _ladder(per_rung: int, rungs: Sequence[str]) -> str:
    return (
        f"{per_rung} problems of each of the {len(rungs)} rungs of an arithmetic ladder "
        f"({', '.join(rungs)})"
    )
