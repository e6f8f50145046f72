"""The whole of params.yaml, and the checks across its groups."""

from pydantic import model_validator

from stages.lib.core.schema import system_name
from stages.lib.params.base import ParamGroup
from stages.lib.params.data import Model, Prepare, Prompts, RowsSource
from stages.lib.params.evaluation import Analyze, Demo, Evaluate, Figures, Hub, Paper
from stages.lib.params.grpo import Grpo
from stages.lib.params.quantization import Gptq, Quantize
from stages.lib.params.sampling import EngineConfig, Sample, SandboxLimits, Score
from stages.lib.params.strategies import (
    Arm,
    ControlArm,
    ConversationsArm,
    FocalArm,
    UniformArm,
    Weigh,
)
from stages.lib.params.training import Train


class Params(ParamGroup):
    """The whole of ``params.yaml``."""

    model: Model
    prepare: Prepare
    prompts: Prompts
    engine: EngineConfig
    sample: Sample
    score: Score
    weigh: Weigh
    train: Train
    grpo: Grpo
    quantize: Quantize
    sandbox: SandboxLimits
    evaluate: Evaluate
    analyze: Analyze
    figures: Figures
    paper: Paper
    hub: Hub
    demo: Demo

    @model_validator(mode="after")
    def _names_agree(self) -> "Params":
        arms = set(self.weigh.arms)
        for name, made in self.grpo.models.items():
            if name in {"base"} | arms | set(self.quantize.models):
                raise ValueError(f"grpo.models.{name}: expected a name that is not taken")
            if made.parent not in {"base"} | arms:
                _complain_of_parent(f"grpo.models.{name}", made.parent, {"base"} | arms)
        tuned = arms | set(self.grpo.models)
        for name, made in self.quantize.models.items():
            if made.parent not in tuned:
                _complain_of_parent(f"quantize.models.{name}", made.parent, tuned)
        known = {"base"} | tuned | set(self.quantize.models)
        for name in self.evaluate.models:
            if name not in known:
                raise ValueError(f"evaluate.models.{name}: expected one of {sorted(known)}")
        if set(self.evaluate.max_tokens) != set(self.prepare.benchmarks):
            raise ValueError(
                f"evaluate.max_tokens: {sorted(self.evaluate.max_tokens)}: "
                f"expected a limit for each of {sorted(self.prepare.benchmarks)}"
            )
        if self.evaluate.held_out not in self.prepare.benchmarks:
            raise ValueError(
                f"evaluate.held_out: {self.evaluate.held_out!r}: "
                f"expected one of {sorted(self.prepare.benchmarks)}"
            )
        self._check_launch()
        self._check_quantized()
        systems = [
            system_name(model, n) for model, shots in self.evaluate.models.items() for n in shots
        ]
        for pair in self.analyze.compare:
            for system in pair:
                if system not in systems:
                    raise ValueError(f"analyze.compare: {system!r}: expected one of {systems}")
        for name, runs in self.analyze.runs.items():
            for system in runs:
                if system not in systems:
                    raise ValueError(f"analyze.runs.{name}: {system!r}: expected one of {systems}")
        self._check_lessons()
        self._check_difficulty()
        self._check_shots()
        return self

    def _check_launch(self) -> None:
        """Raise ValueError if an arm's tuning does not go with how processes share the work."""
        launch = self.train.launch
        if launch is None or launch.strategy == "ddp":
            return
        tunings = [self.train.tuning, *(arm.train.tuning for arm in self.weigh.arms.values())]
        if any(tuning is not None and tuning.method == "qlora" for tuning in tunings):
            raise ValueError(
                f"train.launch.strategy: '{launch.strategy}': expected 'ddp' with qlora, "
                "whose 4-bit weights stay whole"
            )

    def _check_quantized(self) -> None:
        """Raise ValueError if a quantized model could not be set beside its original."""
        evaluated = self.evaluate.models
        for name, made in self.quantize.models.items():
            if name not in evaluated:
                continue
            if made.parent not in evaluated:
                raise ValueError(
                    f"evaluate.models: {name}: expected its parent {made.parent} to be evaluated "
                    "too"
                )
            if min(evaluated[name]) != min(evaluated[made.parent]):
                raise ValueError(
                    f"evaluate.models.{name}: {evaluated[name]}: expected to begin with as many "
                    f"examples as its parent's, {evaluated[made.parent]}"
                )

    def _check_lessons(self) -> None:
        """Raise ValueError for an arm, or a model, that the training data has nothing for."""
        parts = [part for part in self.prepare.train if isinstance(part, RowsSource)]
        names = [part.name for part in parts]
        if len(set(names)) < len(names):
            raise ValueError(f"prepare.train: {names}: expected each name once")
        for part in parts:
            if part.format == "sharegpt" and part.target == "problems":
                raise ValueError(
                    f"prepare.train: {part.name}: target: 'problems': expected 'conversations' "
                    "of format sharegpt, whose rows have no answer to check"
                )
        told = {part.name for part in parts if part.target == "conversations"}
        has_problems = len(told) < len(self.prepare.train)
        for name, arm in self.weigh.arms.items():
            if isinstance(arm, ConversationsArm):
                unknown = sorted(set(arm.sources) - told)
                if unknown:
                    raise ValueError(
                        f"weigh.arms.{name}.sources: {unknown}: expected parts of prepare.train "
                        f"with target conversations: {sorted(told)}"
                    )
            elif not has_problems:
                raise ValueError(
                    f"weigh.arms.{name}: '{arm.strategy}': expected a part of prepare.train that "
                    "gives problems"
                )
            elif isinstance(self._lesson(arm), ConversationsArm):
                raise ValueError(
                    f"weigh.arms.{name}.control_of: expected an arm that learns problems"
                )
        if self.grpo.models and not has_problems:
            raise ValueError(
                f"grpo.models: {sorted(self.grpo.models)}: expected a part of "
                "prepare.train that gives problems"
            )

    def _check_difficulty(self) -> None:
        """Raise ValueError for what needs the difficulty of problems where none is measured."""
        for name, made in self.quantize.models.items():
            hard = isinstance(made, Gptq) and made.calibrate_on == "difficulty"
            if hard and isinstance(self.weigh.arms.get(made.parent), ConversationsArm):
                raise ValueError(
                    f"quantize.models.{name}.calibrate_on: 'difficulty': expected 'training' or "
                    "'text' for an arm of conversations"
                )
        if self.sample.k > 0:
            return
        for name, arm in self.weigh.arms.items():
            if not isinstance(self._lesson(arm), UniformArm | FocalArm | ConversationsArm):
                raise ValueError(
                    f"weigh.arms.{name}: '{arm.strategy}': expected sample.k above 0, "
                    "as the arm needs difficulty"
                )
        for name, made in self.quantize.models.items():
            if isinstance(made, Gptq) and made.calibrate_on == "difficulty":
                raise ValueError(
                    f"quantize.models.{name}.calibrate_on: 'difficulty': expected sample.k above 0"
                )
        if self.sample.sequential is not None:
            raise ValueError("sample.sequential: expected null where sample.k is 0")

    def _check_shots(self) -> None:
        """Raise ValueError if more in-context examples are asked for than are kept."""
        kept = self.prepare.demonstrations
        asked = {f"evaluate.models.{name}": max(n) for name, n in self.evaluate.models.items() if n}
        if self.sample.k > 0:
            asked["sample.shots"] = self.sample.shots
        for key, shots in asked.items():
            if shots > kept:
                raise ValueError(f"{key}: {shots}: expected at most prepare.demonstrations={kept}")

    def _lesson(self, arm: Arm) -> Arm:
        """Return the arm that says what is learned: of a control, the one it is a control of."""
        return self.weigh.arms[arm.control_of] if isinstance(arm, ControlArm) else arm


def _complain_of_parent(key: str, parent: str, known: set[str]) -> None:
    raise ValueError(f"{key}.parent: {parent!r}: expected one of {sorted(known)}")
