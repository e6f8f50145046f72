"""Greedy answers token by token with transformers, and several of them at a time.

For one reader at one machine: vLLM, which evaluation uses, is for many prompts at once and
holds one model per process.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Literal, TypeVar, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stages.lib.generations.requests import truncate_at_stop
from stages.lib.inference.dequantize import dequantize, load_quantized
from stages.lib.models.loading import WEIGHTS_PATTERN, load_tokenizer

T = TypeVar("T")

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What bytes that are no whole character yet are decoded to."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model, its tokenizer, and the tokens that end its answers."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ends: frozenset[int]


@dataclass(frozen=True, slots=True)
class Partial:
    """What a model has written so far, and how fast.

    ``first_s`` are the seconds until the first token, the prompt read; ``rate`` is in tokens
    per second after that, None for a single token. ``tokens`` counts the one that ended the
    answer. ``ended`` is ``length`` if the limit cut it, and empty while it goes on.
    """

    text: str
    tokens: int
    first_s: float
    rate: float | None
    ended: Literal["", "stop", "length"]


class ModelCache:
    """The models that were asked last stay in memory, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        """Keep none yet."""
        self._most = most
        self._speakers: dict[tuple[Path, int], LoadedModel] = {}
        self._lock = Lock()

    def get(self, folder: Path) -> LoadedModel:
        """Return the model of a folder, loaded unless it is kept and unchanged on disk.

        Raises OSError if there is none, and ValueError if it is damaged.
        """
        with self._lock:
            weights = folder.glob(WEIGHTS_PATTERN)
            key = (folder, max((path.stat().st_mtime_ns for path in weights), default=0))
            speaker = self._speakers.pop(key, None)
            if speaker is None:
                while len(self._speakers) >= self._most:
                    del self._speakers[next(iter(self._speakers))]
                speaker = load(folder)
            self._speakers[key] = speaker
            return speaker


def load(folder: Path) -> LoadedModel:
    """Load a model folder to answer with. Raises as ``Kept.get`` does."""
    tokenizer = load_tokenizer(folder)
    model = dequantize(load_quantized(folder))
    settings = model.generation_config
    ends = cast(
        int | list[int] | None,
        tokenizer.eos_token_id
        if settings is None or settings.eos_token_id is None
        else settings.eos_token_id,
    )
    return LoadedModel(model, tokenizer, frozenset([ends] if isinstance(ends, int) else ends or []))


@torch.inference_mode()
def write(
    speaker: LoadedModel, prompt: Sequence[int], *, limit: int, stops: Sequence[str]
) -> Iterator[Partial]:
    """Yield the greedy answer to a prompt of token ids after each of at most ``limit`` tokens.

    It ends with a token of ``speaker.ends`` or before the first of the texts ``stops``.
    """
    began = time.perf_counter()
    first, cache, made = began, None, []
    ids = torch.tensor([list(prompt)])
    ended: Literal["", "stop", "length"] = ""
    while not ended:
        said = speaker.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        ids, cache = said.logits[:, -1].argmax(-1, keepdim=True), said.past_key_values
        made.append(int(ids))
        now = time.perf_counter()
        first = now if len(made) == 1 else first
        text = cast(str, speaker.tokenizer.decode(made, skip_special_tokens=True))
        whole = truncate_at_stop(text, stops)
        if made[-1] in speaker.ends or whole != text:
            ended = "stop"
        elif len(made) == limit:
            ended = "length"
        rate = (len(made) - 1) / (now - first) if len(made) > 1 else None
        shown = whole if ended else whole.rstrip(INCOMPLETE)
        yield Partial(shown, len(made), first - began, rate, ended)


def side_by_side(
    sources: Sequence[Iterator[T]], every_s: float
) -> Generator[list[T | None], None, None]:
    """Run iterators at once, each in a thread; yield the latest value of each.

    Yields at most once in ``every_s`` seconds, None for what has not begun, and at the end the
    last values. What a source raises is raised here. Closed early, it stops each source at
    its next value, without waiting for that.
    """
    latest: list[T | None] = [None] * len(sources)
    news, closed = Event(), Event()

    def drain(place: int) -> None:
        try:
            for value in sources[place]:
                latest[place] = value
                news.set()
                if closed.is_set():
                    break
        finally:
            news.set()

    pool = ThreadPoolExecutor(len(sources))
    try:
        running = [pool.submit(drain, place) for place in range(len(sources))]
        while not all(one.done() for one in running):
            news.wait(every_s)
            news.clear()
            yield list(latest)
            time.sleep(every_s)
        for one in running:
            one.result()
        yield list(latest)
    finally:
        closed.set()
        pool.shutdown(wait=False)
