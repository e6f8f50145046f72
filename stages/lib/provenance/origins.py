"""Where models and data come from: whether they are there, pinned, gated, and their licenses.

Nothing is fetched. Files of the Hub are looked for in its cache.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.lib.params.base_model import parse_base
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
from stages.lib.provenance import catalog, hub
from stages.lib.provenance.catalog import DataFacts
from stages.lib.provenance.hub import HubFiles
from stages.lib.provenance.license import license_of

PACKAGED = "in an installed package"
LADDER = "written here"


@dataclass(frozen=True, slots=True)
class Availability:
    """A model or a data set that a run needs; ``files`` are those of the Hub, if it has them."""

    name: str
    where: str
    license: str
    gated: bool | None
    there: bool
    files: HubFiles | None = None


def of_model(base: str) -> Availability:
    """Return where the base model comes from. Raises ValueError if it is local and missing."""
    found = parse_base(base)
    known = catalog.known(found)
    if found.kind == "hub":
        files = HubFiles(found.location, found.revision, ("*.safetensors",), "model")
        hub.check_commit("model.base", base, found.revision)
        gated = None if known is None else known.gated
        named = "see its card" if known is None else known.license
        return Availability("model", found.location, named, gated, files.is_there(), files)
    _check_exists("model.base", found.location)
    named = license_of(found) if known is None else known.license
    return Availability("model", base.partition("#")[0], named, gated=False, there=True)


def of_training(part: TrainingSource) -> Availability:
    """Return where a part of the training data comes from.

    Raises ValueError for a missing local file, a file of the Hub without a commit, and a
    license other than the one that the data set's card names.
    """
    if isinstance(part, LadderSource):
        return Availability("train ladder", LADDER, catalog.LADDER.license, gated=False, there=True)
    if isinstance(part, FileSource):
        _check_exists("prepare.train.path", part.path)
        return Availability(
            f"train {Path(part.path).stem}", part.path, "yours to know", gated=False, there=True
        )
    key = f"prepare.train: {part.name}"
    if part.ladder is not None:
        return Availability(f"train {part.name}", LADDER, part.license, gated=False, there=True)
    files = _hub_files(key, part.path)
    if files is None:
        _check_exists(f"{key}: path", part.path)
        return Availability(f"train {part.name}", part.path, part.license, gated=False, there=True)
    facts = catalog.DATASETS.get(files.repository)
    named = part.license.strip().partition(" ")[0].casefold()
    if facts is not None and facts.license not in (catalog.NONE_STATED, named):
        raise ValueError(
            f"{key}: license: {part.license!r}: expected {facts.license}, as the card of "
            f"{files.repository} says"
        )
    gated = None if facts is None else facts.gated
    return Availability(
        f"train {part.name}", files.repository, part.license, gated, files.is_there(), files
    )


def of_benchmark(name: str, source: BenchmarkSource) -> Availability:
    """Return where a benchmark comes from. Raises ValueError for a missing local file."""
    key = f"prepare.benchmarks.{name}.path"
    if isinstance(source, LadderSource):
        return Availability(
            f"benchmark {name}", LADDER, catalog.LADDER.license, gated=False, there=True
        )
    if isinstance(source, FileSource):
        _check_exists(key, source.path)
        return Availability(
            f"benchmark {name}", source.path, "yours to know", gated=False, there=True
        )
    facts = catalog.BENCHMARKS[source.source]
    if isinstance(source, PackagedSource):
        return Availability(f"benchmark {name}", PACKAGED, facts.license, gated=False, there=True)
    if source.path != "hub":
        _check_exists(key, source.path)
        return Availability(
            f"benchmark {name}", source.path, facts.license, gated=False, there=True
        )
    if source.source not in hub.SOURCES:
        raise ValueError(f"{key}: 'hub': {source.source} is not there: expected a path")
    files = hub.SOURCES[source.source]
    return Availability(
        f"benchmark {name}", files.repository, facts.license, facts.gated, files.is_there(), files
    )


def all_of(base: str, prepare: Prepare) -> Iterator[Availability]:
    """Yield where everything comes from: the model, the training data, the benchmarks."""
    yield of_model(base)
    for part in prepare.train:
        yield of_training(part)
    for name, source in prepare.benchmarks.items():
        yield of_benchmark(name, source)


def facts_of(source: TrainingSource | BenchmarkSource) -> DataFacts:
    """Return what is known of a data set's rows and tokens."""
    if isinstance(source, LadderSource):
        return catalog.LADDER
    if isinstance(source, PackagedSource | SuiteSource):
        return catalog.BENCHMARKS[source.source]
    if isinstance(source, RowsSource):
        if source.ladder is not None:
            return catalog.LADDER
        files = _hub_files(source.name, source.path)
        return (
            catalog.OTHER
            if files is None
            else catalog.DATASETS.get(files.repository, catalog.OTHER)
        )
    return catalog.OTHER


def _hub_files(key: str, path: str) -> HubFiles | None:
    """Return the files of the Hub that a path names, None for a local one."""
    if not path.startswith("hub:"):
        return None
    try:
        return hub.parse(path)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _check_exists(key: str, path: str) -> None:
    at = Path(path)
    if at.exists():
        return
    root = Path(at.anchor) if at.is_absolute() else Path()
    if not any(root.glob(str(at.relative_to(root)))):
        raise ValueError(f"{key}: {path!r}: no such file")
