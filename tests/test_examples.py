"""Every code block of the documentation is parsed, composed or checked against the code.

A block names its language: `sh`, `yaml`, `python` or `text` (shown, and not checked). Commands of
this repository and of DVC, in blocks and in sentences, are checked word by word, others for their
shell syntax alone.
"""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from dvc.cli import parse_args
from omegaconf import OmegaConf

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params
from stages.lib.params.root import Params

PAGES = [
    Path("README.md"),
    Path("CONTRIBUTING.md"),
    Path("SECURITY.md"),
    Path("data/README.md"),
    *sorted(Path("docs").glob("*.md")),
    *sorted(Path("reports").glob("*/README.md")),
]
INLINE = re.compile(r"`((?:make|dvc|python -m) [^`]+)`")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
MAKEFILE = Path("Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PLACEHOLDERS = {"NAME": "lab2", "N": "2", "recipe=bands": "recipe=ladder"}
LANGUAGES = {"sh", "yaml", "python", "text"}


class Block(NamedTuple):
    """A fenced block of a page."""

    place: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """Yield the fenced blocks of all pages, without their indentation."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            body = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
            yield Block(f"{page}:{line}", match[2], body)


ALL = list(blocks())


def inline_commands() -> Iterator[Block]:
    """Yield the commands that stand in sentences."""
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for match in INLINE.finditer(text):
            yield Block(str(page), "sh", " ".join(match[1].split()))


def commands() -> Iterator[Any]:
    """Yield the simple commands of shell blocks and sentences, as words, with their place."""
    for block in [*ALL, *inline_commands()]:
        if block.language != "sh":
            continue
        # A command inside another stands for a word.
        text = re.sub(r"\$\([^)]*\)", "WORD", block.text.replace("\\\n", " "))
        for line in text.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word.strip("&|;"):
                    words.append(word)
                elif words:
                    yield pytest.param(words, id=f"{block.place}: {' '.join(words)[:60]}")
                    words = []


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_a_block_is_of_its_language(block: Block) -> None:
    assert block.language in LANGUAGES
    if block.language == "sh":
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    elif block.language == "python":
        ast.parse(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_exists_and_takes_these_words(words: list[str]) -> None:
    variable = re.compile(r"\w+=.*")  # of the environment
    program, *rest = [*dropwhile(variable.fullmatch, words), ""]
    if program == "make":
        targets = {word for word in rest if word and "=" not in word}
        assert targets
        assert targets <= TARGETS
    elif program == "dvc":
        parse_args([PLACEHOLDERS.get(word, word) for word in rest[:-1]])
        overrides = [after for before, after in zip(rest, rest[1:], strict=False) if before == "-S"]
        if overrides:
            check_overrides(overrides)
    elif Path(program).name.startswith("python") and rest[:1] == ["-m"]:
        spec = find_spec(rest[1])
        assert spec is not None
        if rest[1].startswith(("stages", "tools", "benchmarks", "tests")):
            check_options(rest[1], [word.partition("=")[0] for word in rest[2:]])
        if rest[1] == "tools.estimate":
            check_overrides([word for word in rest[2:] if "=" in word])


def check_options(module: str, words: list[str]) -> None:
    """Check that a module names the options that a command gives it."""
    path = Path(*module.split("."))
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    source = file.read_text(encoding="utf-8")
    for option in (word.removeprefix("--") for word in words if word.startswith("--")):
        assert f'--{option}"' in source or f'"{option}"' in source, f"{module}: --{option}"


def check_overrides(overrides: list[str]) -> None:
    """Compose the parameters with overrides and validate them, a sweep by its first values."""
    single = [
        re.sub(r"=([\w.]+),[\w.,]+$", r"=\1", PLACEHOLDERS.get(word, word).replace("NAME", "lab2"))
        for word in overrides
    ]
    parse_params(compose(single, CONF), where=" ".join(single))


@pytest.mark.parametrize(
    "block", [block for block in ALL if block.language == "yaml"], ids=lambda block: block.place
)
def test_parameters_in_yaml_are_valid_on_top_of_the_default(block: Block) -> None:
    values = yaml.safe_load(block.text)
    if isinstance(values, list):  # entries of prepare.train
        values = {"prepare": {"train": values}}
    values.pop("defaults", None)
    assert set(values) <= set(Params.model_fields), block.place
    merged = OmegaConf.merge(OmegaConf.create(compose([], CONF)), values)
    parse_params(OmegaConf.to_container(merged), where=block.place)
