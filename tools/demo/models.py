"""Models of the demo: which stay in memory, and how their answers stream.

Transformers generates, not vLLM as in evaluation: vLLM is made for many prompts at once and
holds one model per process.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any, Literal, cast

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TextIteratorStreamer,
)

from stages.lib.generations.requests import truncate_at_stop
from stages.lib.inference.dequantize import dequantize, load_quantized
from stages.lib.models.folder import WEIGHTS_PATTERN
from stages.lib.models.loading import load_tokenizer
from stages.lib.models.precision import compute_dtype


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that decodes greedily, its tokenizer, and the tokens that end an answer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    end_tokens: list[int]


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """An answer so far: its text to the last whole word, and how fast it comes.

    ``first_s`` is the time to the first token in seconds, ``rate`` the tokens per second
    after it (None for a single token). ``tokens`` includes an end-of-turn token.
    ``finish_reason`` is ``length`` if the limit cut the answer, "" until it ends.
    """

    text: str
    tokens: int
    first_s: float
    rate: float | None
    finish_reason: Literal["", "stop", "length"] = ""


class ModelCache:
    """Keeps the models that were used last in memory, at most ``capacity`` of them."""

    def __init__(self, capacity: int) -> None:
        """Start empty."""
        self._capacity = capacity
        self._models: dict[tuple[Path, int], LoadedModel] = {}
        self._lock = Lock()

    def get(self, folder: Path) -> LoadedModel:
        """Return the model of a folder, loaded if it is not cached or has changed on disk.

        Raises OSError if it is missing, and ValueError if it is damaged.
        """
        with self._lock:
            weights = folder.glob(WEIGHTS_PATTERN)
            key = (folder, max((path.stat().st_mtime_ns for path in weights), default=0))
            model = self._models.pop(key, None)
            if model is None:
                # Room is made first: one model too many may not fit into memory.
                while len(self._models) >= self._capacity:
                    del self._models[next(iter(self._models))]
                model = load(folder)
            self._models[key] = model  # at the end: the first is the least recently used
            return model


def load(folder: Path) -> LoadedModel:
    """Load a model folder for greedy decoding. Raises as ``ModelCache.get`` does."""
    tokenizer = load_tokenizer(folder)
    model = load_quantized(folder)
    saved = cast(GenerationConfig, model.generation_config)
    # transformers declares a wrapper's signature for ``to``, which hides its arguments.
    model = dequantize(model).to(compute_dtype())  # pyright: ignore[reportArgumentType]
    ends = tokenizer.eos_token_id if saved.eos_token_id is None else saved.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(cast(Sequence[int], ends or []))
    # A new configuration: the saved one may sample or penalize repetition, as evaluation does not.
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=ends or None, pad_token_id=ends[0] if ends else None
    )
    return LoadedModel(model, tokenizer, ends)


class _TimedStreamer(TextIteratorStreamer):
    """Streams text and notes when each token came."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        if not self.next_tokens_are_prompt:
            self.times.append(time.perf_counter())
        super().put(value)


def stream(
    loaded: LoadedModel, prompt: Sequence[int], *, limit: int, stops: Sequence[str]
) -> Iterator[PartialAnswer]:
    """Yield the greedy answer to a prompt of token ids, token by token, then whole.

    It ends with an end-of-turn token, before the first of the texts ``stops``, or after
    ``limit`` tokens. Closing the iterator stops the model at its next token.
    """
    streamer = _TimedStreamer(loaded.tokenizer)
    closed = Event()

    def decode(ids: torch.Tensor) -> str:
        text = loaded.tokenizer.decode(ids[0, len(prompt) :], skip_special_tokens=True)
        return cast(str, text)

    def must_stop(ids: torch.Tensor, scores: Any, **_: Any) -> bool:
        return closed.is_set() or any(stop in decode(ids) for stop in stops)

    def partial(text: str, finish_reason: Literal["", "stop", "length"] = "") -> PartialAnswer:
        times = streamer.times.copy()
        first, tokens = times[0], len(times)
        rate = (tokens - 1) / (times[-1] - first) if tokens > 1 else None
        return PartialAnswer(text, tokens, first - began, rate, finish_reason)

    ids = torch.tensor([list(prompt)])
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            cast(Any, loaded.model).generate,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            stopping_criteria=[must_stop],
            streamer=streamer,
        )
        # If the model fails, the loop below would wait forever for more text.
        future.add_done_callback(lambda _: streamer.end())
        text = ""
        try:
            for piece in streamer:
                text += piece
                if streamer.times:
                    yield partial(truncate_at_stop(text, stops))
        finally:
            closed.set()
        # The pieces are decoded separately, and SentencePiece drops spaces where one begins.
        ids = future.result()
    text = truncate_at_stop(decode(ids), stops)
    stopped = int(ids[0, -1]) in loaded.end_tokens or text != decode(ids)
    yield partial(text, "stop" if stopped else "length")
