"""The files for clusters: their shells parse, and they ask for what the recipe needs."""

import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from stages.lib.core.paths import CONF
from stages.lib.params.compose import compose
from stages.lib.params.load import parse_params

SLURM = CONF / "cluster" / "sdat.sbatch"
SKY = CONF / "cluster" / "sdat.sky.yaml"


def sky() -> dict[str, str]:
    return yaml.safe_load(SKY.read_text(encoding="utf-8"))


def scripts() -> dict[str, str]:
    return {"slurm": SLURM.read_text(encoding="utf-8"), "sky": sky()["setup"] + sky()["run"]}


@cache
def processes() -> int:
    """Return how many processes of the recipe train together."""
    launch = parse_params(compose(["recipe=sdat"], CONF), where="sdat").train.launch
    assert launch is not None
    return launch.processes


@pytest.mark.parametrize("cluster", ["slurm", "sky"])
def test_the_shell_parses(cluster: str) -> None:
    checked = subprocess.run(
        ["bash", "-n"], input=scripts()[cluster], capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("cluster", ["slurm", "sky"])
def test_the_cost_is_known_before_anything_runs(cluster: str) -> None:
    commands = [shlex.split(line) for line in scripts()[cluster].splitlines() if "#" not in line]
    expected = {
        "setup": ["make", "setup", "LOCK=requirements-gpu.txt"],
        "check": ["python", "-m", "tools.estimate", "recipe=sdat"],
        "run": ["dvc", "exp", "run", "-S", "recipe=sdat"],
    }
    positions = [
        next(
            position for position, words in enumerate(commands) if words[: len(command)] == command
        )
        for command in expected.values()
    ]
    assert positions == sorted(positions)
    assert commands.index(["set", "-euo", "pipefail"]) < positions[0]
    assert Path("requirements-gpu.txt").is_file()


@pytest.mark.parametrize("cluster", ["slurm", "sky"])
def test_the_engines_share_all_gpus(cluster: str) -> None:
    words = shlex.split(scripts()[cluster], comments=True)
    given = {word.partition("=")[2] for word in words if word.startswith("engine.engines=")}
    assert given == {str(processes())}


def test_both_have_the_gpus_that_the_recipe_asks_for() -> None:
    assert f"#SBATCH --gpus-per-node={processes()}\n" in SLURM.read_text(encoding="utf-8")
    accelerators = yaml.safe_load(SKY.read_text())["resources"]["accelerators"]
    assert accelerators == f"A100-80GB:{processes()}"
