"""Files on the Hugging Face Hub at pinned commits: how they are named, cached and downloaded.

The rows of the benchmarks' files have the same fields as the SDAT authors' own files
(``stages.lib.data.sdat_suite``). The other benchmarks of the SDAT report are not on the Hub in
such a form.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import filter_repo_objects

_PATH = re.compile(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})/(.+)")
_SHARD = re.compile(r"(.*-)(\d+)-of-(\d+)(\..*)")
_MAX_NAMED = 4  # missing shards that an error names


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A repository of the Hub at a commit, and the patterns of the files that are needed."""

    repository: str
    revision: str
    patterns: tuple[str, ...]
    kind: Literal["model", "dataset"]

    def folder(self) -> Path:
        """Return the folder of this commit in the Hub's cache, whether it exists or not."""
        name = repo_folder_name(repo_id=self.repository, repo_type=self.kind)
        return Path(constants.HF_HUB_CACHE, name, "snapshots", self.revision)

    def cached_paths(self, pattern: str) -> list[Path]:
        """Return the cached files that match a pattern, sorted; ``*`` matches ``/`` too."""
        return self._matching(
            [path for path in self.folder().rglob("*") if path.is_file()], pattern
        )

    def missing_shards(self) -> list[str]:
        """Return the names of shards that the cache lacks although it has others of their set.

        The name ``train-00000-of-00005.parquet`` says that there are five.
        """
        missing = (
            shard.relative_to(self.folder()).as_posix()
            for pattern in self.patterns
            for path in self.cached_paths(pattern)
            for shard in self._matching(_shard_set(path), pattern)
            if not shard.exists()
        )
        return list(dict.fromkeys(missing))

    def is_cached(self) -> bool:
        """Return whether the cache has files of every pattern, and all shards of each set."""
        return all(map(self.cached_paths, self.patterns)) and not self.missing_shards()

    def download_command(self) -> str:
        """Return the shell command that downloads the files into the cache."""
        command = f"hf download {self.repository} --revision {self.revision}"
        if self.kind == "model":
            return command
        includes = (f"--include '{pattern}'" for pattern in self.patterns)
        return " ".join([command, "--repo-type dataset", *includes])

    def _matching(self, paths: list[Path], pattern: str) -> list[Path]:
        folder = self.folder()
        return sorted(
            filter_repo_objects(
                paths, allow_patterns=pattern, key=lambda path: path.relative_to(folder).as_posix()
            )
        )


def parse_hub_path(path: str) -> HubFiles:
    """Return the files of a data set that ``hub:ORG/NAME@COMMIT/PATTERN`` names.

    Raises ValueError for another form, and for a commit of zeros, which is a placeholder.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError(
            f"path: {path!r}: expected hub:ORG/NAME@COMMIT/PATTERN, with a commit of 40 "
            f"hexadecimal digits"
        )
    check_commit("path", path, match[2])
    return HubFiles(match[1], match[2], (match[3],), "dataset")


def check_commit(key: str, text: str, commit: str) -> None:
    """Raise ValueError, beginning with ``key``, for a commit of zeros."""
    if not commit.strip("0"):
        raise ValueError(f"{key}: {text!r}: expected the commit to use in place of the zeros")


def _shard_set(path: Path) -> list[Path]:
    """Return all files of a shard's set, or the path alone if it is no shard."""
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return [path]
    stem, digits, count, ending = shard.groups()

    def name(number: int) -> Path:
        return path.with_name(f"{stem}{number:0{len(digits)}}-of-{count}{ending}")

    # Models number their files from 1, data sets from 0 or 1.
    first = 1 if ending == ".safetensors" or name(int(count)).exists() else 0
    return [name(number) for number in range(first, first + int(count))]


def _mmlu(*subjects: str) -> HubFiles:
    files = tuple(f"{subject}/test-00000-of-00001.parquet" for subject in subjects)
    return HubFiles("cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe", files, "dataset")


BENCHMARK_FILES = {
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


def benchmark_files(benchmark: str) -> HubFiles:
    """Return the files of a benchmark. Raises ValueError if the Hub does not have it."""
    if benchmark not in BENCHMARK_FILES:
        raise ValueError(
            f"prepare.benchmarks: {benchmark}: not on the Hub; expected a path to its file"
        )
    return BENCHMARK_FILES[benchmark]


def fetch_benchmark(benchmark: str) -> list[Path]:
    """Return the files of a benchmark, as ``fetch_files`` does."""
    return fetch_files(benchmark_files(benchmark))


def fetch_files(files: HubFiles) -> list[Path]:
    """Return a data set's files, sorted by pattern and path; download those that are not cached.

    ``*`` matches ``/`` too. Raises OSError, in one line, if the repository or the commit does
    not exist, its terms must be accepted first, no file matches a pattern, or files, among
    them shards, are neither in the cache nor reachable; the last names the command to run.
    """
    where = f"{files.repository}@{files.revision}"
    remedy = f"with network access, run `{files.download_command()}` first"
    try:
        snapshot_download(
            files.repository,
            repo_type=files.kind,
            revision=files.revision,
            allow_patterns=list(files.patterns),
        )
    # Before the next case, since it is an HfHubHTTPError too.
    except RevisionNotFoundError as error:
        raise OSError(f"{where}: the data set has no such commit") from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        if _is_refused(error):
            raise OSError(
                f"{where}: the Hub has no such data set, or refuses it without a token: accept "
                f"its terms on https://huggingface.co/datasets/{files.repository}, and run "
                f"`hf auth login` or set HF_TOKEN"
            ) from error
        raise OSError(
            f"{where}: {', '.join(files.patterns)} is not in the Hub's cache and could not be "
            f"fetched; {remedy}"
        ) from error
    # Offline, the cache may hold only some shards of a set, and a part must not pass for it all.
    missing = files.missing_shards()
    if missing:
        rest = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
        raise OSError(
            f"{where}: {', '.join(missing[:_MAX_NAMED])}{rest}: not in the Hub's cache; {remedy}"
        )
    paths: list[Path] = []
    for pattern in files.patterns:
        cached = files.cached_paths(pattern)
        if not cached:
            raise OSError(f"{where}: no file matches {pattern}; if the data set has one, {remedy}")
        paths += cached
    return paths


def _is_refused(error: BaseException | None) -> bool:
    """Return whether the Hub refused access, rather than being out of reach.

    It reports a private data set as missing to a request without a token.
    """
    while error is not None:
        if isinstance(error, RepositoryNotFoundError):
            return True
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            return True
        error = error.__cause__
    return False
