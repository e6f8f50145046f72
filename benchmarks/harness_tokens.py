"""Print, as JSON, the token ids of each document's prompt as lm-evaluation-harness encodes it.

.venv-harness/bin/python benchmarks/harness_tokens.py MODEL_ARGS DOCUMENTS
"""

import json
import sys
from pathlib import Path

from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]


def main(model_args: str, documents: str) -> None:
    """Encode each prompt separately, to avoid padding."""
    model = HFLM(**json.loads(model_args), device="cpu")
    prompts = [
        document["prompt"] for document in json.loads(Path(documents).read_text(encoding="utf-8"))
    ]
    print(json.dumps([model.tok_batch_encode([prompt])[0][0].tolist() for prompt in prompts]))


if __name__ == "__main__":
    main(*sys.argv[1:])
