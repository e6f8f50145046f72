"""Greedy generation with ONNX Runtime GenAI, one prompt at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import onnxruntime_genai
from transformers import AutoTokenizer

from stages.lib.generations.requests import truncate_at_stop
from tools.export.onnx import complete

# Compiled, without types.
_genai: Any = onnxruntime_genai


class Runtime:
    """A loaded exported model, with the tokenizer in its folder."""

    def __init__(self, folder: Path) -> None:
        """Load an exported folder. Raises FileNotFoundError if there is none."""
        self._model = _genai.Model(str(complete(folder)))
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def generate(
        self, prompt: Sequence[int], max_tokens: int, *, ignore_eos: bool = False
    ) -> list[int]:
        """Return the tokens that follow a prompt, without the one that ends the turn."""
        longest = len(prompt) + max_tokens
        settings = _genai.GeneratorParams(self._model)
        settings.set_search_options(
            do_sample=False,
            repetition_penalty=1.0,
            min_length=longest if ignore_eos else 0,
            max_length=longest,
        )
        generator = _genai.Generator(self._model, settings)
        generator.append_tokens(list(prompt))
        while not generator.is_done():
            generator.generate_next_token()
        return generator.get_sequence(0)[len(prompt) :].tolist()

    def answer(self, prompt: Sequence[int], max_tokens: int, stop: Sequence[str]) -> str:
        """Return the text that follows a prompt, up to the first of the texts in ``stop``."""
        tokens = self.generate(prompt, max_tokens)
        text = cast(str, self._tokenizer.decode(tokens, skip_special_tokens=True))
        return truncate_at_stop(text, stop)
