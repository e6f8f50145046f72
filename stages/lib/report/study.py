"""What the registered study showed, in sentences: one for each outcome that it can have.

Names of arms are in backticks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.analysis.answer_modes import ANSWER_MODES
from stages.lib.core.files import read_json
from stages.lib.core.tables import read_csv
from stages.lib.report.numbers import percent

EndpointRow = Mapping[str, str]


def read_study(folder: Path, arms: Sequence[str]) -> dict[str, Any] | None:
    """Return the tables of a finished study with its sentences, or None.

    None if ``tools.study`` has written no tables there yet, or if the study compares others
    than ``arms``.
    """
    if not (folder / "endpoints.csv").exists():
        return None
    endpoints = read_csv(folder / "endpoints.csv")
    if not {row[side] for row in endpoints for side in ("first", "second")} <= set(arms):
        return None
    sizes = read_json(folder / "design.json")
    return {
        "blocks": int(endpoints[0]["blocks"]),
        "endpoints": endpoints,
        "arms": read_csv(folder / "arms.csv"),
        "commit": sizes["commit"][:7],
        "design": design(sizes, endpoints),
        "result": result(endpoints),
        "meaning": meaning(endpoints),
        "dose": _dose(folder / "dose.csv"),
    }


def read_retention(folder: Path) -> list[dict[str, str]] | None:
    """Return what each quantized model kept in recipe ``quantization``, or None before its run."""
    file = folder / "retention.csv"
    return read_csv(file) if file.exists() else None


def _dose(file: Path) -> dict[str, int] | None:
    """Return how many doses and runs the dose curve has, or None if there is none yet."""
    if not file.exists():
        return None
    rows = read_csv(file)
    return {"doses": len({row["steps"] for row in rows}), "runs": int(rows[0]["runs"])}


def design(sizes: Mapping[str, Any], endpoints: Sequence[EndpointRow]) -> str:
    """Return what each run trains on and is tested on; ``sizes`` are those of design.json."""
    cells = sizes["hard_cells"] + sizes["easy_cells"]
    modes = " and with ".join(ANSWER_MODES[name] for name in sizes["promptings"])
    return (
        f"Each run takes {sizes['steps']} steps, {sizes['tokens']:,} supervised tokens, on "
        f"{sizes['train_problems']:,} problems of {sizes['kinds']} kinds, with {modes}, and is "
        f"tested on {sizes['test_problems']} other problems in each of {cells} cells (a kind of "
        f"problem with one prompting): {sizes['easy_cells']} easy ones, which "
        f"`{endpoints[0]['second']}` mostly solved on development problems, and "
        f"{sizes['hard_cells']} hard ones.{_look(sizes['look'])}"
    )


def _look(look: Mapping[str, Any]) -> str:
    """Return what the look at the variance decided; nothing if the study ended before it."""
    half_width = look["half_width"]
    if half_width is None:
        return ""
    is_wide = half_width > look["limit"]
    return (
        f" After {look['blocks']} runs of each arm the interval on hard cells reached "
        f"{percent(half_width)} points to each side, {'more than' if is_wide else 'at most'} the "
        f"{percent(look['limit'])} points registered: "
        f"{'further' if is_wide else 'no further'} runs were added."
    )


def result(endpoints: Sequence[EndpointRow]) -> str:
    """Return the differences on hard and easy cells in one sentence."""
    hard, easy, _ = endpoints
    return (
        f"Over {hard['blocks']} runs of each arm, `{hard['first']}` minus `{hard['second']}` is "
        f"{_points(hard)} on hard cells and {_points(easy)} on easy ones."
    )


def meaning(endpoints: Sequence[EndpointRow]) -> str:
    """Return what the verdicts on the registered endpoints say.

    ``endpoints`` are the gain on hard cells, no loss on easy ones, and the gain over the control.
    """
    gain, easy, control = endpoints
    candidate, baseline = gain["first"], gain["second"]
    margin = percent(-float(easy["bound"]))
    verdicts = (gain["verdict"], easy["verdict"])
    if "inconclusive" in verdicts:
        return f"With {gain['blocks']} runs the study is inconclusive, as registered."
    if verdicts == ("not met", "met"):
        return (
            f"No gain on hard cells is shown; on easy ones a loss of {margin} points or more is "
            "ruled out."
        )
    if verdicts == ("met", "not met"):
        return (
            f"`{candidate}` gains on hard cells, but a loss of {margin} points on easy ones is not "
            "ruled out: the study fails its second endpoint."
        )
    if verdicts == ("not met", "not met"):
        return "No gain on hard cells is shown, and a loss on easy ones is not ruled out."
    gained = (
        f"`{candidate}` gains on hard cells over `{baseline}`, without a loss of {margin} points "
        "on easy ones."
    )
    against = f"`{candidate}` minus `{control['second']}` is {_points(control)} on hard cells"
    if control["verdict"] == "met":
        return f"{gained} {against}: it matters which cells get more, not only that some do."
    return f"{gained} {against}: the study does not show that the choice of cells matters."


def _points(row: EndpointRow) -> str:
    low, high = percent(float(row["low"])), percent(float(row["high"]))
    return f"{percent(float(row['difference']))} points ({low} to {high})"
