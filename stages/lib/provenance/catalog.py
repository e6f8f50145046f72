"""Facts about the models and data sets of the recipes: licenses, gates, sizes.

Shapes are those of each model's ``config.json``; licenses and gates those of its card on the
Hub; rows those of the data sets' cards. Nothing here is fetched: a model that is not listed
is read from where it lies (``shape_of``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lib.core.files import read_json
from stages.lib.params.base_model import Base


@dataclass(frozen=True, slots=True)
class Shape:
    """The widths of a decoder as Llama, Qwen2 and Gemma have it, in numbers of values."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    qkv_bias: bool = False

    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """Return inputs and outputs of the linear layers of a block, by the ends of their names."""
        attention, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, attention),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (attention, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    def linear_parameters(self) -> int:
        """Return how many weights the linear layers of all blocks have: those quantized."""
        return self.layers * sum(i * o for i, o in self.linear_layers().values())

    def embedding_parameters(self) -> int:
        """Return the weights of the embedding, and of the output layer if it is another."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def parameters(self) -> int:
        """Return all parameters: also two norms per block, one at the end, and biases."""
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0
        norms = (2 * self.layers + 1) * self.hidden
        others = self.embedding_parameters() + norms + self.layers * biases
        return self.linear_parameters() + others

    def adapter_parameters(self, r: int, targets: list[str]) -> int:
        """Return the parameters of low-rank adapters: r x (inputs + outputs) per layer."""
        widths = self.linear_layers()
        return self.layers * r * sum(sum(widths[one]) for one in targets if one in widths)

    def kv_bytes(self) -> int:
        """Return the bytes of keys and values of one token in bf16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A published model: its license's identifier, whether terms must be accepted, its shape."""

    license: str
    gated: bool
    shape: Shape


@dataclass(frozen=True, slots=True)
class DataFacts:
    """A published data set: its license, rows, and mean tokens of a question and an answer.

    ``NONE_STATED`` is the license of a card that has none. ``counted`` says that the tokens were
    counted, by the tokenizer of SmolLM2, in what the project has of the set; otherwise they
    are assumed, and the table says so.
    """

    license: str
    rows: int
    question_tokens: float
    answer_tokens: float
    counted: bool = False
    gated: bool = False


NONE_STATED = "none stated"

SMOLLM2 = ModelFacts("apache-2.0", False, Shape(30, 576, 1536, 9, 3, 64, 49_152, tied=True))

# By the id on the Hub. Licenses: of Llemma that of its parent Code Llama; "llama3.2" and
# "gemma" are licenses of their makers, who gate the files until their terms are accepted.
MODELS = {
    "EleutherAI/llemma_7b": ModelFacts(
        "llama2", False, Shape(32, 4096, 11_008, 32, 32, 128, 32_016, tied=False)
    ),
    "Qwen/Qwen2.5-7B": ModelFacts(
        "apache-2.0",
        False,
        Shape(28, 3584, 18_944, 28, 4, 128, 152_064, tied=False, qkv_bias=True),
    ),
    "google/gemma-2b": ModelFacts(
        "gemma", True, Shape(18, 2048, 16_384, 8, 1, 256, 256_000, tied=True)
    ),
    "meta-llama/Llama-3.2-1B-Instruct": ModelFacts(
        "llama3.2", True, Shape(16, 2048, 8192, 32, 8, 64, 128_256, tied=True)
    ),
    "meta-llama/Llama-3.2-3B-Instruct": ModelFacts(
        "llama3.2", True, Shape(28, 3072, 8192, 24, 8, 128, 128_256, tied=True)
    ),
    # A copy of Llama-3.2-1B-Instruct that is not gated; its license stays.
    "unsloth/Llama-3.2-1B-Instruct": ModelFacts(
        "llama3.2", False, Shape(16, 2048, 8192, 32, 8, 64, 128_256, tied=True)
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": SMOLLM2,
}

# GGUF files that packages carry, by their SHA-256.
FILES = {"b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53": SMOLLM2}

# By the id on the Hub: the training sets of the recipes. Rows of MathInstruct are those that
# are left without CAMEL-Math and TheoremQA (168,810 in the SDAT authors' difficulty-aware
# set), its answers the 107 tokens that their steps and examples tell. Tokens of NuminaMath
# (596 a row, 0.8 of them solutions), Orca-Math and FineTome are bytes of the published files
# over bytes per token; conf/scale/ says how. Those of Math-Multiturn are a guess.
DATASETS = {
    "TIGER-Lab/MathInstruct": DataFacts("mit", 168_810, 90, 107),
    "AI-MO/NuminaMath-CoT": DataFacts("apache-2.0", 859_494, 119, 477),
    "AI-MO/NuminaMath-TIR": DataFacts("apache-2.0", 72_441, 119, 477),
    "microsoft/orca-math-word-problems-200k": DataFacts("mit", 200_035, 70, 280),
    "mlabonne/FineTome-100k": DataFacts(NONE_STATED, 100_000, 177, 405),
    "PJMixers/Math-Multiturn-100K-ShareGPT": DataFacts(NONE_STATED, 100_000, 300, 300),
    "openai/gsm8k": DataFacts("mit", 7_473, 62, 98, counted=True),
    "EleutherAI/hendrycks_math": DataFacts("mit", 7_500, 74, 228, counted=True),
}

# Test sets by their ``source`` in prepare.benchmarks: the twelve of the SDAT report, and
# MATH-500. MMLU's are sums over its subjects in ``stages.lib.provenance.hub``; SVAMP's, two splits.
BENCHMARKS = {
    "gsm8k": DataFacts("mit", 1_319, 62, 98, counted=True),
    "math": DataFacts("mit", 5_000, 74, 228, counted=True),
    "math500": DataFacts("mit", 500, 76, 232, counted=True),
    "aqua": DataFacts("apache-2.0", 254, 90, 100),
    "sat": DataFacts("mit", 220, 110, 100),
    "mmlu_mathematics": DataFacts("mit", 974, 90, 0),
    "mmlu_physics": DataFacts("mit", 253, 110, 0),
    "mmlu_chemistry": DataFacts("mit", 303, 90, 0),
    "mmlu_biology": DataFacts("mit", 454, 110, 0),
    "svamp": DataFacts("mit", 1_000, 45, 0),
    "numglue": DataFacts("apache-2.0", 1_042, 60, 0),
    "deepmind": DataFacts("apache-2.0", 1_000, 40, 0),
    "simuleq": DataFacts(NONE_STATED, 514, 60, 0),
}

# Written by the project: counted in the 784 examples of the default run.
LADDER = DataFacts("apache-2.0", 0, 15, 29, counted=True)

# What nothing is known of, such as a local file.
OTHER = DataFacts("", 0, 80, 160)


def known(base: Base) -> ModelFacts | None:
    """Return what is listed of a base model."""
    return FILES.get(base.sha256) if base.kind == "gguf" else MODELS.get(base.location)


def shape_of(base: Base, hub_folder: Path | None) -> Shape | None:
    """Return a base's shape: as listed, or as its own files say; None if it cannot be told.

    ``hub_folder`` is where the Hub's cache has a model of the Hub, if it has it. Raises
    ValueError for a file that is damaged.
    """
    listed = known(base)
    if listed is not None:
        return listed.shape
    if base.kind == "gguf":
        return _shape_of_gguf(Path(base.location))
    folder = Path(base.location) if base.kind == "folder" else hub_folder
    if folder is None or not (folder / "config.json").is_file():
        return None
    return shape_of_config(read_json(folder / "config.json"))


def shape_of_config(config: dict[str, Any]) -> Shape | None:
    """Return the shape that a ``config.json`` of transformers tells, None if it does not."""
    try:
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=hidden,
            intermediate=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // heads,
            vocabulary=config["vocab_size"],
            # What transformers takes where the file says nothing.
            tied=config.get("tie_word_embeddings", config.get("model_type") == "gemma"),
            qkv_bias=config.get("model_type") == "qwen2" or config.get("attention_bias", False),
        )
    except KeyError:
        return None


def _shape_of_gguf(path: Path) -> Shape | None:
    # Left to where it is used: reading takes seconds, most of it for the vocabulary.
    from gguf import GGUFReader

    reader = GGUFReader(path)
    named = {one.name: [int(size) for size in one.shape] for one in reader.tensors}
    kind = reader.get_field("general.architecture")
    if kind is None or "token_embd.weight" not in named:
        return None

    def told(key: str) -> int | None:
        field = reader.get_field(f"{kind.contents()}.{key}")
        return None if field is None else int(field.contents())

    hidden, vocabulary = named["token_embd.weight"]
    layers, heads = told("block_count"), told("attention.head_count")
    intermediate = told("feed_forward_length")
    if layers is None or heads is None or intermediate is None:
        return None
    return Shape(
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=told("attention.head_count_kv") or heads,
        head_dim=told("attention.key_length") or hidden // heads,
        vocabulary=vocabulary,
        tied="output.weight" not in named,
        qkv_bias="blk.0.attn_q.bias" in named,
    )
