"""The notebook's cells run on the committed tables, and its figure has the registered numbers."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest

NOTEBOOK = Path("examples/results.ipynb")


@pytest.mark.parametrize("folder", [".", "examples"])
def test_the_notebook_draws_the_registered_differences(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "commit it without outputs"
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    with mpl.rc_context({"backend": "agg"}):
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            exec(cell["source"], names)
        (axis,) = names["figure"].axes
        diamonds = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
        plt.close(names["figure"])
    endpoints = pd.read_csv(names["reports"] / "study" / "endpoints.csv")
    assert diamonds == (100 * endpoints["difference"]).tolist()
    # The mean over runs is the difference that was registered.
    first = endpoints.iloc[0]
    runs = names["runs"]
    mean = (runs(first["first"], first["stratum"]) - runs(first["second"], first["stratum"])).mean()
    assert mean == pytest.approx(first["difference"], abs=1e-4)
