"""Exported models: the same tokens as transformers, and what is refused."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from stages.lib.models.loading import load_model
from tests.conftest import tiny_model
from tools.export.onnx import check_exportable, export, exported_bytes
from tools.export.runtime import Runtime

PROMPTS = [[5, 6, 7], list(range(40, 90)), [65] * 8]
NEW = 24


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Return a tiny model whose layers are loud enough not to repeat its last token for ever."""
    folder = tmp_path_factory.mktemp("models") / "lively"
    model = tiny_model(tokenizer)
    with torch.no_grad():
        for weights in model.model.layers.parameters():
            if weights.dim() > 1:
                weights.mul_(10)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, lively: Path) -> Path:
    """Return that model, exported in fp32."""
    folder = tmp_path_factory.mktemp("exports") / "lively-fp32"
    export(lively, folder, "fp32")
    return folder


def greedy(folder: Path, prompt: Sequence[int]) -> list[int]:
    """Return what transformers generates in fp32."""
    model = load_model(folder, torch.float32).eval()
    ids = torch.tensor([prompt])
    generated = model.generate(  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False
    )
    return generated[0, len(prompt) :].tolist()


def test_greedy_tokens_are_those_of_transformers(lively: Path, exported: Path) -> None:
    runtime = Runtime(exported)
    texts = [runtime.generate(prompt, NEW) for prompt in PROMPTS]
    assert texts == [greedy(lively, prompt) for prompt in PROMPTS]
    assert all(len(set(tokens)) > 5 for tokens in texts)


def test_the_end_of_a_turn_ends_an_answer_unless_it_is_ignored(
    exported: Path, tmp_path: Path
) -> None:
    whole = Runtime(exported).generate(PROMPTS[0], NEW)
    folder = tmp_path / "ending"
    shutil.copytree(exported, folder)
    config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
    config["model"]["eos_token_id"] = [whole[5]]
    (folder / "genai_config.json").write_text(json.dumps(config), encoding="utf-8")
    runtime = Runtime(folder)
    assert runtime.generate(PROMPTS[0], NEW) == whole[: whole.index(whole[5])]
    assert len(runtime.generate(PROMPTS[0], NEW, ignore_eos=True)) == NEW


def test_an_answer_ends_before_the_first_text_that_stops_it(
    exported: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    runtime = Runtime(exported)
    whole = runtime.generate_text(PROMPTS[1], NEW, ())
    assert whole == tokenizer.decode(runtime.generate(PROMPTS[1], NEW), skip_special_tokens=True)
    stop = [whole[9:11], whole[4:6], "not there"]
    assert runtime.generate_text(PROMPTS[1], NEW, stop) == whole[: min(map(whole.find, stop[:2]))]


def test_bytes_are_those_of_fp32_weights_and_the_graph(lively: Path, exported: Path) -> None:
    parameters = sum(tensor.numel() for tensor in load_model(lively, torch.float32).parameters())
    assert 4 * parameters <= exported_bytes(exported) < 4 * parameters + 600_000


def test_a_half_written_folder_is_no_exported_model(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(exported, folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(FileNotFoundError, match="half: no exported model here"):
        Runtime(folder)
    with pytest.raises(FileNotFoundError, match="no exported model here"):
        exported_bytes(tmp_path / "nothing")


def test_what_cannot_be_exported_says_why(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="precision: 'int3': expected one of"):
        check_exportable(tiny_base, "int3")
    with pytest.raises(FileNotFoundError, match="missing: no model here"):
        check_exportable(tmp_path / "missing", "int4")
    quantized = changed(tiny_base, tmp_path / "quantized", quantization_config={"bits": 4})
    with pytest.raises(ValueError, match="quantized: quantized already: expected the model"):
        check_exportable(quantized, "int4")


def test_an_unknown_architecture_leaves_what_was_there(tiny_base: Path, tmp_path: Path) -> None:
    other = changed(tiny_base, tmp_path / "other", architectures=["OtherForCausalLM"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "before").touch()
    with pytest.raises(ValueError, match="not exported: .* not currently supported"):
        export(other, out, "fp32")
    assert [path.name for path in out.iterdir()] == ["before"]
    assert {path.name for path in tmp_path.iterdir()} == {"other", "out"}


def changed(model: Path, folder: Path, **values: object) -> Path:
    """Return a copy of a model folder whose configuration says something else."""
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values), encoding="utf-8")
    return folder
