"""The license of a base model comes from its own files."""

from pathlib import Path

import pytest
from gguf import GGUFWriter

from stages.lib.params.model_source import ModelSource
from stages.lib.provenance import license as provenance_license
from stages.lib.provenance.license import license_of

CARDS = [
    ("---\nlicense: mit\n---\n# A model\n", "mit"),
    ("---\ntags: [a]\n---\n# A model\n", "unknown"),
    ("# A model under the MIT license\n", "unknown"),
    (None, "unknown"),
]


@pytest.mark.parametrize(("card", "expected"), CARDS)
def test_of_a_folder(tmp_path: Path, card: str | None, expected: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert license_of(ModelSource("folder", str(tmp_path))) == expected


@pytest.mark.parametrize(("license", "expected"), [("gemma", "gemma"), (None, "unknown")])
def test_of_a_gguf_file(tmp_path: Path, license: str | None, expected: str) -> None:
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "llama")
    if license:
        writer.add_license(license)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert license_of(ModelSource("gguf", str(path))) == expected


def test_of_a_hub_model_it_is_that_of_its_card_at_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: llama3.2\n---\n")
    downloads = []

    def download(repo: str, name: str, *, revision: str) -> str:
        downloads.append((repo, revision))
        return str(tmp_path / name)

    monkeypatch.setattr(provenance_license, "hf_hub_download", download)
    base = ModelSource("hub", "org/name", revision="a" * 40)
    assert license_of(base) == "llama3.2"
    assert downloads == [("org/name", "a" * 40)]


def test_of_a_hub_model_out_of_reach_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert license_of(ModelSource("hub", "org/name", revision="a" * 40)) == "unknown"
