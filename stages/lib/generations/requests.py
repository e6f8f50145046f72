"""What a generation request and its answer hold, and where a text is cut."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from stages.lib.core.schema import Prompting
from stages.lib.generations.store import Key

# Text, finish reason and number of tokens.
GeneratedText = tuple[str, str, int]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn (temperature 0 is greedy), and the texts that end an answer."""

    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One generation to make: sample ``index`` of a problem's prompt, as token ids."""

    problem_id: str
    prompting: Prompting
    shots: int
    index: int
    prompt: tuple[int, ...]
    max_tokens: int

    def key(self, model: str, sampling: Sampling) -> Key:
        """Return the key of the row that answers this request."""
        said = repr((self.prompt, self.max_tokens, sampling)).encode()
        digest = sha256(said).hexdigest()[:16]
        return (self.problem_id, model, self.prompting, self.shots, self.index, digest)

    def seed(self, sampling: Sampling) -> int:
        """Return the seed of this request's own noise, which no other request changes."""
        said = (self.problem_id, self.prompting, self.shots, self.index, sampling.seed)
        return int.from_bytes(sha256(repr(said).encode()).digest()[:4], "big")


class Backend(Protocol):
    """What answers batches: an engine, or several that share them."""

    def answers(
        self,
        batches: Sequence[Sequence[Request]],
        sampling: Sampling,
        done: Callable[[int], object],
    ) -> Iterator[tuple[int, list[GeneratedText]]]:
        """Yield each batch's number and its answers, in order of the requests, when it is done.

        Batches come in any order. ``done`` is called with numbers of finished requests.
        """
        ...


def truncate_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return what stands before the first of the texts that end an answer."""
    places = [place for place in map(text.find, stops) if place >= 0]
    return text[: min(places, default=len(text))]
