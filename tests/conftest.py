"""A tokenizer and models small enough for tests, made here rather than downloaded."""

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

# Before TRL, which may import trackio, which then has to know its folder: see there.
import stages.lib.training.tracking  # noqa: F401
from stages.lib.core.schema import Prompting
from stages.lib.params.load import load_params
from stages.lib.params.sampling import EngineConfig
from stages.lib.prompts.templates import question_prompt, user_message
from stages.lib.prompts.tokenize import TokenizedExample
from stages.lib.runtime.machine import this_machine
from tools.demo.problems import QUESTION

if TYPE_CHECKING:
    from stages.lib.inference.engine import Engine

REPOSITORY = Path(__file__).parents[1]

# One thread in each worker and in what it starts: threads of two workers that wait for one
# another on two cores spin, and an operation of microseconds then takes milliseconds.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# The longest groups start first, so that no worker is left with one of them at the end.
FIRST = (
    "dag",
    "engines",
    "tests/stages/test_train.py",
    "tests/stages/test_replay.py",
    "tests/tools/test_reruns.py",
    "tests/lib/grpo",
    "tests/tools/demo",
)
END = "<|end|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}" + END + "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that share fixtures in one worker: those of a file, or of a package."""
    order = {name: rank for rank, name in enumerate(FIRST)}
    rank_of = {}
    for item in items:
        if mark := item.get_closest_marker("xdist_group"):
            group = mark.args[0]
        else:
            path = item.path.relative_to(REPOSITORY)
            mirrored = path.parts[1] in ("lib", "tools") and len(path.parts) > 3
            group = str(path.parent if mirrored else path)
            item.add_marker(pytest.mark.xdist_group(group))
        rank_of[item.nodeid] = order.get(group, len(FIRST))
    items.sort(key=lambda item: rank_of[item.nodeid])


def pytest_collection_finish() -> None:
    """Keep what was imported from the garbage collector, which statsmodels calls at each use."""
    gc.freeze()


def one_turn(prompt: list[int], response: list[int], weight: float) -> TokenizedExample:
    """Return an example whose response alone is learned."""
    return TokenizedExample(
        prompt + response, [False] * len(prompt) + [True] * len(response), weight
    )


def prompt_of(example: TokenizedExample) -> list[int]:
    """Return the tokens that are not learned."""
    return [
        token for token, learned in zip(example.ids, example.loss_mask, strict=True) if not learned
    ]


def response_of(example: TokenizedExample) -> list[int]:
    """Return the tokens that are learned."""
    return [token for token, learned in zip(example.ids, example.loss_mask, strict=True) if learned]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token per byte, and one per mark of its chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    marks = ["<|system|>", "<|user|>", "<|assistant|>"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token=END, pad_token=END)
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture(scope="session", name="tokenizer")
def shared_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer that tests share."""
    return byte_tokenizer()


def tiny_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen2ForCausalLM:
    """Return a random Qwen2 (not a Llama: a second architecture) of 0.1M parameters."""
    torch.manual_seed(seed)
    end = tokenizer.vocab[END]
    config = Qwen2Config(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
        tie_word_embeddings=True,
    )
    return Qwen2ForCausalLM(config)


def save_tiny(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Write a tiny model and its tokenizer, and return the folder."""
    tiny_model(tokenizer).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Return a folder with a tiny model and its tokenizer."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", tokenizer)


def engine_config(**changes: Any) -> EngineConfig:
    """Return the configuration of one small engine on this machine, with changes."""
    defaults: dict[str, Any] = {
        "engines": 1,
        "tensor_parallel": 1,
        "cpus": 1,
        "kv_cache_gib": 1,
        "max_model_len": 2048,
        "max_num_seqs": 8,
        "block_size": 32,
        "batch_size": 8,
        "queue": "batch",
        "batch_invariant": False,
    }
    return EngineConfig(**defaults | changes)


def skip_without_engine() -> None:
    """Skip a test that generates where nothing can: vLLM's build for CUDA needs a GPU."""
    machine = this_machine()
    if machine.has_cuda_build and not machine.gpus:
        pytest.skip("vLLM's build for CUDA has no engine for a CPU")


def start_engine(folder: Path) -> "Engine":
    """Start an engine in this process. Tests that use one are of the group ``engines``."""
    skip_without_engine()
    # Imported here: it takes many seconds.
    from stages.lib.inference.engine import Engine

    with pytest.MonkeyPatch.context() as environment:
        # vLLM would bind this process, which other tests share, to a core.
        environment.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        return Engine(folder, engine_config())


@pytest.fixture(scope="session")
def tiny_engine(tiny_base: Path) -> "Engine":
    """Return an engine on the tiny model."""
    return start_engine(tiny_base)


@pytest.fixture(scope="session")
def terse(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Return a folder with a tiny model for which every fourth token ends a turn."""
    folder = tmp_path_factory.mktemp("models") / "terse"
    model = tiny_model(tokenizer).bfloat16()
    assert model.generation_config is not None
    model.generation_config.eos_token_id = list(range(0, 320, 4))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def terse_engine(terse: Path) -> "Engine":
    """Return an engine on the model of ``terse``."""
    return start_engine(terse)


# What the model of ``taught`` answers to the demo's own question: right, and full of markup.
TAUGHT: dict[Prompting, str] = {
    "cot": '<script>hacked=1</script><img src=x onerror="hacked=1">${hacked=1}{{x}} It is 6303.',
    "pot": "```python\nprint('<img src=x onerror=hacked=1>')\nprint(125 * 45 + 678)\n```",
}


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Return a folder with a tiny model that has learned by heart what ``TAUGHT`` says."""
    folder = tmp_path_factory.mktemp("models") / "taught"
    model = tiny_model(tokenizer)
    prompts = load_params(REPOSITORY / "params.yaml").prompts
    pairs = []
    for prompting, text in TAUGHT.items():
        prompt = question_prompt(tokenizer, prompts, user_message(QUESTION, prompting))
        answer = tokenizer(text + END, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*prompt, *answer]])
        pairs.append((ids, ids.clone().index_fill_(1, torch.arange(len(prompt)), -100)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = [1.0]
    for _ in range(400):
        losses = [model(input_ids=ids, labels=labels).loss for ids, labels in pairs]
        if max(losses) < 0.01:
            break
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    assert max(losses) < 0.01
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
