"""Requests for generations, the texts that come back, and the backends that generate them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from stages.lib.core.schema import Prompting
from stages.lib.generations.store import Key


class GeneratedText(NamedTuple):
    """A generated text, why it ended (such as "stop" or "length"), and its number of tokens."""

    text: str
    finish_reason: str
    n_tokens: int


@dataclass(frozen=True)
class Sampling:
    """Sampling settings: temperature 0 is greedy, and ``stop`` are texts that end an answer."""

    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """A request for one generation: sample ``index`` of a prompt, which is token ids.

    With ``ignore_eos`` it has ``max_tokens`` tokens whatever they say, for measuring speed.
    """

    problem_id: str
    prompting: Prompting
    shots: int
    index: int
    prompt: tuple[int, ...]
    max_tokens: int
    ignore_eos: bool = False

    def key(self, model: str, sampling: Sampling) -> Key:
        """Return the key of the generation that answers this request."""
        payload = repr((self.prompt, self.max_tokens, sampling)).encode()
        digest = sha256(payload).hexdigest()[:16]
        return (self.problem_id, model, self.prompting, self.shots, self.index, digest)

    def seed(self, sampling: Sampling) -> int:
        """Return the request's own seed, which does not depend on other requests."""
        payload = (self.problem_id, self.prompting, self.shots, self.index, sampling.seed)
        return int.from_bytes(sha256(repr(payload).encode()).digest()[:4], "big")


class Backend(Protocol):
    """Generates texts for batches of requests: one engine, or several that share the batches."""

    def generate_batches(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        on_progress: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Yield the index of each finished batch with its texts, in the order of its requests.

        Batches finish in any order. ``on_progress`` is called with the number of requests
        that have finished since the last call.
        """
        ...


def truncate_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text up to the first of the texts that end an answer."""
    starts = [start for start in map(text.find, stops) if start >= 0]
    return text[: min(starts, default=len(text))]
