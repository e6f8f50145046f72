"""Files on the Hugging Face Hub, each at a pinned revision: how they are named, had and fetched.

The rows of the benchmarks' files have the fields of the authors' files
(``stages.lib.data.sdat_suite``). The other benchmarks of the SDAT report are not on the
Hub in such a form.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects

_REFUSED = (401, 403)

_MMLU = "c30699e8356da336a370243923dbaf21066bb9fe"

_PATH = re.compile(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})/(.+)")
_SHARD = re.compile(r"(?P<stem>.*-)(?P<number>\d+)-of-(?P<count>\d+)(?P<ending>\.[^/]*)")
_NAMED = 4
"""Missing shards that an error names."""


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A repository of the Hub at a commit, and the patterns of the files that are wanted."""

    repository: str
    revision: str
    patterns: tuple[str, ...]
    kind: Literal["model", "dataset"]

    def folder(self) -> Path:
        """Return where the Hub's cache has it, or would."""
        name = f"{self.kind}s--{self.repository.replace('/', '--')}"
        return Path(constants.HF_HUB_CACHE) / name / "snapshots" / self.revision

    def is_there(self) -> bool:
        """Return whether the cache has files of every pattern, and all shards of each."""
        return all(map(self.found, self.patterns)) and not self.missing()

    def found(self, pattern: str) -> list[str]:
        """Return the paths in the cache that match a pattern, sorted; ``*`` matches ``/`` too."""
        folder = self.folder()
        names = (one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
        return sorted(filter_repo_objects(names, allow_patterns=[pattern]))

    def missing(self) -> list[str]:
        """Return the shards that are wanted and not in the cache, though others of theirs are.

        A file ``train-00000-of-00005.parquet`` says that there are five.
        """
        return [
            name
            for pattern in self.patterns
            for name in filter_repo_objects(
                _other_shards(self.found(pattern)), allow_patterns=[pattern]
            )
        ]

    def command(self) -> str:
        """Return the command that fetches it."""
        said = f"hf download {self.repository} --revision {self.revision}"
        if self.kind == "model":
            return said
        return " ".join([said, "--repo-type dataset", *(f"--include '{p}'" for p in self.patterns)])


def parse(path: str) -> HubFiles:
    """Return the files of a data set that ``hub:ORG/NAME@COMMIT/PATTERN`` names.

    Raises ValueError for another text, and for a commit of zeros, which stands for none.
    """
    named = _PATH.fullmatch(path)
    if named is None:
        raise ValueError(
            f"path: {path!r}: expected hub:ORG/NAME@COMMIT/PATTERN, with a commit of 40 "
            f"hexadecimal digits"
        )
    check_commit("path", path, named[2])
    return HubFiles(named[1], named[2], (named[3],), "dataset")


def check_commit(key: str, text: str, commit: str) -> None:
    """Raise ValueError, beginning with ``key``, for a commit of zeros."""
    if not commit.strip("0"):
        raise ValueError(f"{key}: {text!r}: expected a commit: put the one that you want here")


def _other_shards(names: Iterable[str]) -> Iterator[str]:
    """Yield the shards that belong to some and are not among them."""
    numbers: dict[tuple[str, str, str], set[str]] = {}
    for name in names:
        shard = _SHARD.fullmatch(name)
        if shard is not None:
            of = (shard["stem"], shard["count"], shard["ending"])
            numbers.setdefault(of, set()).add(shard["number"])
    for (stem, count, ending), found in numbers.items():
        width = len(next(iter(found)))
        # Models' files are numbered from 1, data sets' from 0 or 1.
        first = 1 if count in found or ending == ".safetensors" else 0
        for number in range(first, first + int(count)):
            if f"{number:0{width}}" not in found:
                yield f"{stem}{number:0{width}}-of-{count}{ending}"


def _mmlu(*subjects: str) -> HubFiles:
    files = tuple(f"{subject}/test-00000-of-00001.parquet" for subject in subjects)
    return HubFiles("cais/mmlu", _MMLU, files, "dataset")


SOURCES = {
    "aqua": HubFiles(
        "deepmind/aqua_rat",
        "33301c6a050c96af81f63cad5562cb5363e88971",
        ("raw/test-00000-of-00001.parquet",),
        "dataset",
    ),
    "svamp": HubFiles(
        "ChilleD/SVAMP",
        "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef",
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        "dataset",
    ),
    "mmlu_mathematics": _mmlu(
        "elementary_mathematics",
        "high_school_mathematics",
        "formal_logic",
        "college_mathematics",
        "abstract_algebra",
    ),
    "mmlu_physics": _mmlu("high_school_physics", "college_physics"),
    "mmlu_chemistry": _mmlu("high_school_chemistry", "college_chemistry"),
    "mmlu_biology": _mmlu("high_school_biology", "college_biology"),
}


def fetch(benchmark: str) -> list[Path]:
    """Return the files of a benchmark, from the Hub's cache where they are in it.

    Raises ValueError for a benchmark that the Hub does not have, and OSError with the
    command that fetches a file that is neither in the cache nor within reach.
    """
    if benchmark not in SOURCES:
        raise ValueError(
            f"prepare.benchmarks: {benchmark}: not on the Hub; expected a path to its file"
        )
    wanted = SOURCES[benchmark]
    return [_fetch(wanted, name) for name in wanted.patterns]


def files_at(wanted: HubFiles) -> list[Path]:
    """Return a data set's files, sorted by pattern and path.

    ``*`` matches ``/`` too. Files in the Hub's cache are taken from there. Raises OSError
    with the command that fetches what is neither there nor within reach, a shard among them,
    with what to do about a data set that asks for its terms to be accepted, or if no file
    matches.
    """
    where = f"{wanted.repository}@{wanted.revision}"
    named = ", ".join(wanted.patterns)
    remedy = f"with network access, run `{wanted.command()}` first"
    try:
        snapshot_download(
            wanted.repository,
            repo_type="dataset",
            revision=wanted.revision,
            allow_patterns=list(wanted.patterns),
        )
    except RevisionNotFoundError as error:
        raise OSError(f"{where}: the data set has no such commit") from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        if _is_refused(error):
            raise OSError(
                f"{where}: the Hub has no such data set, or refuses it without a token: accept "
                f"its terms on https://huggingface.co/datasets/{wanted.repository}, and run "
                f"`hf auth login` or set HF_TOKEN"
            ) from error
        raise OSError(
            f"{where}: {named} is not in the Hub's cache and could not be fetched; {remedy}"
        ) from error
    missing = wanted.missing()
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise OSError(
            f"{where}: {', '.join(missing[:_NAMED])}{more}: not in the Hub's cache; {remedy}"
        )
    found = [
        wanted.folder() / name for pattern in wanted.patterns for name in wanted.found(pattern)
    ]
    if not found:
        raise OSError(f"{where}: no file matches {named}; if the data set has one, {remedy}")
    return found


def _is_refused(error: Exception | None) -> bool:
    """Tell whether the Hub said no, rather than nothing.

    To a request without a token it says of a private data set that there is none.
    """
    while error is not None:
        if isinstance(error, RepositoryNotFoundError):
            return True
        if isinstance(error, HfHubHTTPError) and error.response.status_code in _REFUSED:
            return True
        error = error.__cause__ if isinstance(error.__cause__, Exception) else None
    return False


def _fetch(wanted: HubFiles, name: str) -> Path:
    try:
        found = hf_hub_download(
            wanted.repository, name, repo_type="dataset", revision=wanted.revision
        )
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise OSError(
            f"{wanted.repository}@{wanted.revision}: {name} is not in the Hub's cache and "
            f"could not be fetched; with network access, run `hf download {wanted.repository} "
            f"{name} --repo-type dataset --revision {wanted.revision}` first"
        ) from error
    return Path(found)
