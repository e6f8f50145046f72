"""Every mutation can be planted: its text occurs once, and its tests exist."""

from pathlib import Path

import pytest

from tests.mutations.__main__ import Mutation, read_mutations, read_outcomes


@pytest.mark.parametrize("mutation", read_mutations(), ids=lambda mutation: mutation.what)
def test_a_mutation_fits_the_code(mutation: Mutation) -> None:
    assert Path(mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1
    assert mutation.new != mutation.old
    for path in mutation.test_paths():
        assert Path(path).exists()


def test_the_page_has_the_outcome_of_every_mutation() -> None:
    rows = read_outcomes()
    assert list(rows) == [(mutation.file, mutation.what) for mutation in read_mutations()]
    assert set(rows.values()) == {"caught"}
