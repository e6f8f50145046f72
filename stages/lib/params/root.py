"""The whole of params.yaml, and the checks across its groups."""

from pathlib import Path

from pydantic import model_validator

from stages.lib.core.paths import TRAINING
from stages.lib.core.schema import system_name
from stages.lib.params.base import ParamGroup
from stages.lib.params.data import Model, Prepare, Prompts, RowsSource
from stages.lib.params.evaluation import Analyze, Demo, Evaluate, Figures, Hub, Paper
from stages.lib.params.grpo import Grpo
from stages.lib.params.quantization import Quantize, quantized_models
from stages.lib.params.sampling import EngineConfig, Sample, SandboxLimits, Score
from stages.lib.params.strategies import (
    Arm,
    ControlArm,
    ConversationsArm,
    DartArm,
    UnguidedArm,
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
        self._check_model_names()
        self._check_benchmarks()
        self._check_launch()
        self._check_quantized()
        self._check_systems()
        self._check_training_data()
        self._check_difficulty()
        self._check_shots()
        return self

    def _check_model_names(self) -> None:
        """Raise ValueError for a model that is named twice, has no parent, or does not exist."""
        arms = {*self.weigh.arms, *self.weigh.replays}
        taken = {"base"}
        for group, models in (
            ("model.others", self.model.others),
            ("model.adapted", self.model.adapted),
            ("weigh.arms", self.weigh.arms),
            ("weigh.replays", self.weigh.replays),
            ("grpo.models", self.grpo.models),
            ("quantize.gptq", self.quantize.gptq),
            ("quantize.rounded", self.quantize.rounded),
        ):
            for name in models:
                if name in taken:
                    raise ValueError(f"{group}.{name}: expected a name that is not taken")
                taken.add(name)
        for name, model in self.grpo.models.items():
            _check_parent(f"grpo.models.{name}", model.parent, {"base"} | arms)
        whole = taken - quantized_models(self.quantize).keys()
        for name, model in self.model.adapted.items():
            _check_parent(f"model.adapted.{name}", model.parent, whole - self.model.adapted.keys())
        for name, model in self.quantize.gptq.items():
            _check_parent(f"quantize.gptq.{name}", model.parent, whole)
            self._check_calibration(f"quantize.gptq.{name}.calibrate_on", Path(model.calibrate_on))
        for name, model in self.quantize.rounded.items():
            _check_parent(f"quantize.rounded.{name}", model.parent, whole)
        for name in self.evaluate.models:
            if name not in taken:
                raise ValueError(f"evaluate.models.{name}: expected one of {sorted(taken)}")

    def _check_calibration(self, key: str, path: Path) -> None:
        """Raise ValueError for the training examples of a model that has none."""
        trained = {*self.weigh.arms, *self.grpo.models}
        if path.parent == TRAINING and path.stem not in trained:
            files = sorted(str(TRAINING / f"{name}.parquet") for name in trained)
            raise ValueError(f"{key}: {str(path)!r}: expected one of {files}")

    def _check_benchmarks(self) -> None:
        """Raise ValueError unless the evaluation names the benchmarks that are prepared."""
        benchmarks = sorted(self.prepare.benchmarks)
        if sorted(self.evaluate.max_tokens) != benchmarks:
            raise ValueError(
                f"evaluate.max_tokens: {sorted(self.evaluate.max_tokens)}: "
                f"expected a limit for each of {benchmarks}"
            )
        if self.evaluate.held_out not in benchmarks:
            raise ValueError(
                f"evaluate.held_out: {self.evaluate.held_out!r}: expected one of {benchmarks}"
            )

    def _check_systems(self) -> None:
        """Raise ValueError for a comparison or a run of a system that is not evaluated."""
        systems = [
            system_name(model, n) for model, shots in self.evaluate.models.items() for n in shots
        ]
        compared = [("analyze.compare", system) for pair in self.analyze.compare for system in pair]
        runs = [
            (f"analyze.runs.{name}", system)
            for name, members in self.analyze.runs.items()
            for system in members
        ]
        for key, system in [*compared, *runs]:
            if system not in systems:
                raise ValueError(f"{key}: {system!r}: expected one of {systems}")

    def _check_launch(self) -> None:
        """Raise ValueError if an arm's tuning does not work with the launch strategy."""
        launch = self.train.launch
        if launch is None or launch.strategy == "ddp":
            return
        tunings = [self.train.tuning, *(arm.train.tuning for arm in self.weigh.arms.values())]
        for tuning in (tuning for tuning in tunings if tuning is not None):
            if tuning.method == "qlora":
                cause = "qlora, whose 4-bit weights stay whole"
            elif tuning.optimizer != "adamw":
                cause = f"{tuning.optimizer}, which updates whole parameters"
            else:
                continue
            raise ValueError(
                f"train.launch.strategy: '{launch.strategy}': expected 'ddp' with {cause}"
            )

    def _check_quantized(self) -> None:
        """Raise ValueError if a quantized model could not be compared with its parent."""
        evaluated = self.evaluate.models
        for name, model in quantized_models(self.quantize).items():
            if name not in evaluated:
                continue
            if model.parent not in evaluated:
                raise ValueError(
                    f"evaluate.models: {name}: expected its parent {model.parent} to be evaluated "
                    "too"
                )
            if min(evaluated[name]) != min(evaluated[model.parent]):
                raise ValueError(
                    f"evaluate.models.{name}: {evaluated[name]}: expected to begin with as many "
                    f"examples as its parent's, {evaluated[model.parent]}"
                )

    def _check_training_data(self) -> None:
        """Raise ValueError for an arm or a model that the sources have no training data for."""
        sources = [source for source in self.prepare.train if isinstance(source, RowsSource)]
        names = [source.name for source in sources]
        # Arms select conversations by the name of their source.
        if len(set(names)) < len(names):
            raise ValueError(f"prepare.train: {names}: expected each name once")
        for source in sources:
            if source.format == "sharegpt" and source.target == "problems":
                raise ValueError(
                    f"prepare.train: {source.name}: target: 'problems': expected 'conversations' "
                    "of format sharegpt, whose rows have no answer to check"
                )
        conversations = {source.name for source in sources if source.target == "conversations"}
        # Sources of other types than RowsSource always give problems.
        has_problems = len(conversations) < len(self.prepare.train)
        for name, arm in self.weigh.arms.items():
            if isinstance(arm, ConversationsArm):
                unknown = sorted(set(arm.sources) - conversations)
                if unknown:
                    raise ValueError(
                        f"weigh.arms.{name}.sources: {unknown}: expected sources of prepare.train "
                        f"with target conversations: {sorted(conversations)}"
                    )
            elif not has_problems:
                raise ValueError(
                    f"weigh.arms.{name}: '{arm.strategy}': expected a source of prepare.train that "
                    "gives problems"
                )
            # A control permutes its arm's plan over the problems; conversations have no such plan.
            elif isinstance(self._source_arm(arm), ConversationsArm):
                raise ValueError(
                    f"weigh.arms.{name}.control_of: expected an arm that trains on problems"
                )
        if self.grpo.models and not has_problems:
            raise ValueError(
                f"grpo.models: {sorted(self.grpo.models)}: expected a source of "
                "prepare.train that gives problems"
            )

    def _check_difficulty(self) -> None:
        """Raise ValueError if difficulty is needed but neither measured nor published."""
        published = self.score.definition == "published"
        if self.sample.k > 0 and published:
            raise ValueError(
                f"sample.k: {self.sample.k}: expected 0 with score.definition: 'published'"
            )
        # The samples measure the difficulty that any arm may need.
        if self.sample.k > 0:
            return
        for name, arm in self.weigh.arms.items():
            source = self._source_arm(arm)
            if isinstance(source, DartArm):
                raise ValueError(
                    f"weigh.arms.{name}: '{arm.strategy}': expected sample.k above 0, "
                    "as the arm trains on samples"
                )
            if not published and not isinstance(source, UnguidedArm):
                raise ValueError(
                    f"weigh.arms.{name}: '{arm.strategy}': expected sample.k above 0, "
                    "as the arm needs difficulty"
                )
        if self.sample.sequential is not None:
            raise ValueError("sample.sequential: expected null where sample.k is 0")

    def _check_shots(self) -> None:
        """Raise ValueError if more in-context examples are used than there are."""
        available = self.prepare.demonstrations
        used = {f"evaluate.models.{name}": max(n) for name, n in self.evaluate.models.items() if n}
        if self.sample.k > 0:
            used["sample.shots"] = self.sample.shots
        for key, shots in used.items():
            if shots > available:
                raise ValueError(
                    f"{key}: {shots}: expected at most prepare.demonstrations={available}"
                )

    def _source_arm(self, arm: Arm) -> Arm:
        """Return the arm whose examples an arm trains on: its own, or that of a control."""
        return self.weigh.arms[arm.control_of] if isinstance(arm, ControlArm) else arm


def _check_parent(key: str, parent: str, allowed: set[str]) -> None:
    if parent not in allowed:
        raise ValueError(f"{key}.parent: {parent!r}: expected one of {sorted(allowed)}")
