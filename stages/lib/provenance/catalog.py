"""Facts about the models and data sets of the recipes: licenses, gates, sizes.

Shapes are from each model's ``config.json``, licenses and gates from its card on the Hub, rows
from the data sets' cards. Nothing is downloaded: the shape of a model that is not listed is read
from its own files (``find_shape``).
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

from stages.lib.params.model_source import ModelSource


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a Llama, Qwen2 or Gemma decoder, in numbers of values."""

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
        """Return (inputs, outputs) of a block's linear layers, by the last part of their names."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    def linear_parameters(self) -> int:
        """Return the number of weights in the linear layers of all blocks, which are quantized."""
        return self.layers * sum(map(prod, self.linear_layers().values()))

    def embedding_parameters(self) -> int:
        """Return the number of weights in the embedding, and in the output layer if not tied."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def parameters(self) -> int:
        """Return the number of all parameters, with two norms per block, a last one, and biases."""
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0
        norms = (2 * self.layers + 1) * self.hidden
        linear = self.linear_parameters()
        return linear + self.embedding_parameters() + norms + self.layers * biases

    def adapter_parameters(self, r: int, targets: list[str]) -> int:
        """Return the number of parameters of LoRA adapters: r x (inputs + outputs) per layer."""
        widths = self.linear_layers()
        return self.layers * r * sum(sum(widths[name]) for name in targets if name in widths)

    def kv_bytes(self) -> int:
        """Return the bytes of one token's keys and values in bf16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A published model: its license, whether its terms must be accepted first, its shape."""

    license: str
    gated: bool
    shape: Shape


@dataclass(frozen=True, slots=True)
class DataFacts:
    """A published data set: its license, rows, and mean tokens of a question and an answer.

    ``license`` is ``NONE_STATED`` if the card names none. ``counted`` says that the tokens were
    counted with SmolLM2's tokenizer; otherwise they are assumed, and the report says so.
    """

    license: str
    rows: int
    question_tokens: float
    answer_tokens: float
    counted: bool = False


NONE_STATED = "none stated"

SMOLLM2 = ModelFacts("apache-2.0", False, Shape(30, 576, 1536, 9, 3, 64, 49_152, tied=True))
LLAMA_8B = Shape(32, 4096, 14_336, 32, 8, 128, 128_256, tied=False)
LLAMA_1B = Shape(16, 2048, 8192, 32, 8, 64, 128_256, tied=True)

# By the id on the Hub. Llemma has the license of its parent, Code Llama; "llama3.2" and "gemma"
# are the makers' own licenses, and their files are gated until the terms are accepted.
MODELS = {
    "EleutherAI/llemma_7b": ModelFacts(
        "llama2", False, Shape(32, 4096, 11_008, 32, 32, 128, 32_016, tied=False)
    ),
    "Qwen/Qwen2.5-0.5B": ModelFacts(
        "apache-2.0", False, Shape(24, 896, 4864, 14, 2, 64, 151_936, tied=True, qkv_bias=True)
    ),
    "Qwen/Qwen2.5-1.5B": ModelFacts(
        "apache-2.0", False, Shape(28, 1536, 8960, 12, 2, 128, 151_936, tied=True, qkv_bias=True)
    ),
    "Qwen/Qwen2.5-7B": ModelFacts(
        "apache-2.0",
        False,
        Shape(28, 3584, 18_944, 28, 4, 128, 152_064, tied=False, qkv_bias=True),
    ),
    "google/gemma-2b": ModelFacts(
        "gemma", True, Shape(18, 2048, 16_384, 8, 1, 256, 256_000, tied=True)
    ),
    "meta-llama/Llama-3.2-1B-Instruct": ModelFacts("llama3.2", True, LLAMA_1B),
    "meta-llama/Llama-3.2-3B-Instruct": ModelFacts(
        "llama3.2", True, Shape(28, 3072, 8192, 24, 8, 128, 128_256, tied=True)
    ),
    # A copy of Llama-3.2-1B-Instruct that is not gated; the license is the same.
    "unsloth/Llama-3.2-1B-Instruct": ModelFacts("llama3.2", False, LLAMA_1B),
    "HuggingFaceTB/SmolLM2-135M-Instruct": SMOLLM2,
}

# GGUF files that packages carry, by their SHA-256.
FILES = {"b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53": SMOLLM2}

# Training sets of the recipes, by the id on the Hub. MathInstruct counts rows without CAMEL-Math
# and TheoremQA (168,810 in the SDAT authors' difficulty-aware set); the 107 tokens of its answers
# follow from their numbers of steps and examples. Tokens of NuminaMath (596 a row, 0.8 of them in
# the solution), Orca-Math and FineTome are bytes of the published files over bytes per token, as
# conf/scale/ explains. Those of Math-Multiturn are a guess.
DATASETS = {
    "TIGER-Lab/MathInstruct": DataFacts("mit", 168_810, 90, 107),
    "AI-MO/NuminaMath-CoT": DataFacts("apache-2.0", 859_494, 119, 477),
    "AI-MO/NuminaMath-TIR": DataFacts("apache-2.0", 72_441, 119, 477),
    "microsoft/orca-math-word-problems-200k": DataFacts("mit", 200_035, 70, 280),
    "mlabonne/FineTome-100k": DataFacts(NONE_STATED, 100_000, 177, 405),
    "PJMixers/Math-Multiturn-100K-ShareGPT": DataFacts("apache-2.0", 100_000, 300, 300),
    "openai/gsm8k": DataFacts("mit", 7_473, 62, 98, counted=True),
    "EleutherAI/hendrycks_math": DataFacts("mit", 7_500, 74, 228, counted=True),
}

# Test sets, by their ``source`` in prepare.benchmarks: the twelve of the SDAT report, and
# MATH-500. MMLU's rows are sums over its subjects in ``stages.lib.provenance.hub``, SVAMP's are
# both of its splits.
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

# Generated by this project; tokens counted in the 784 examples of the default run.
LADDER = DataFacts("apache-2.0", 0, 15, 29, counted=True)

# A source that is not listed, such as a local file.
UNKNOWN_FACTS = DataFacts("", 0, 80, 160)


def find_model_facts(base: ModelSource) -> ModelFacts | None:
    """Return the facts about a base model, None if it is not listed."""
    return FILES.get(base.sha256) if base.kind == "gguf" else MODELS.get(base.location)


def find_shape(base: ModelSource) -> Shape | None:
    """Return a base model's shape, listed or from its local configuration; else None."""
    facts = find_model_facts(base)
    if facts is not None:
        return facts.shape
    # Takes seconds to import, and listed models do not need it.
    from transformers import AutoConfig

    path = Path(base.location)
    is_file = base.kind == "gguf"
    try:
        config = AutoConfig.from_pretrained(
            path.parent if is_file else base.location,
            gguf_file=path.name if is_file else None,
            revision=base.revision or None,
            local_files_only=True,
            trust_remote_code=False,
        )
        heads = config.num_attention_heads
        return Shape(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", heads),
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocabulary=config.vocab_size,
            tied=config.tie_word_embeddings,
            # Qwen2 always has these biases, and no key for them.
            qkv_bias=getattr(config, "attention_bias", config.model_type == "qwen2"),
        )
    except (OSError, ValueError, AttributeError):
        # Not on this machine, or of an architecture that is unknown or no such decoder.
        return None
