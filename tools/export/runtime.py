"""Greedy generation with ONNX Runtime GenAI, one prompt at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import onnxruntime_genai
from transformers import AutoTokenizer

from stages.lib.generations.requests import truncate_at_stop
from tools.export.onnx import existing_export

# A compiled module without types.
_genai: Any = onnxruntime_genai


class Runtime:
    """An exported model and its tokenizer, loaded."""

    def __init__(self, folder: Path) -> None:
        """Load an exported model. Raises FileNotFoundError if the folder has none."""
        self._model = _genai.Model(str(existing_export(folder)))
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def generate(
        self, prompt: Sequence[int], max_tokens: int, *, ignore_eos: bool = False
    ) -> list[int]:
        """Return the tokens that follow a prompt, without the end-of-turn token."""
        max_length = len(prompt) + max_tokens
        search = _genai.GeneratorParams(self._model)
        search.set_search_options(
            do_sample=False,
            repetition_penalty=1.0,
            min_length=max_length if ignore_eos else 0,
            max_length=max_length,
        )
        generator = _genai.Generator(self._model, search)
        generator.append_tokens(list(prompt))
        while not generator.is_done():
            generator.generate_next_token()
        return generator.get_sequence(0)[len(prompt) :].tolist()

    def generate_text(self, prompt: Sequence[int], max_tokens: int, stop: Sequence[str]) -> str:
        """Return the text that follows a prompt, cut at the first stop text in it."""
        tokens = self.generate(prompt, max_tokens)
        text = cast(str, self._tokenizer.decode(tokens, skip_special_tokens=True))
        return truncate_at_stop(text, stop)
