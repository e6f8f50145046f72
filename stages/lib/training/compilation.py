"""Compile a model's layers with ``torch.compile``."""

from transformers import PreTrainedModel

# PyTorch's own compiler; its name is a constant so that tests can trace without generating code.
_BACKEND = "inductor"


def compile_layers(model: PreTrainedModel) -> None:
    """Compile each decoder layer in place, when it is first called.

    Layers of one shape share the code, so that compiling takes as long as for one layer. The
    names of the parameters stay as they are. Lengths of rows may vary: the second length makes
    the code general.
    """
    names = set(model._no_split_modules or [])  # noqa: SLF001
    for module in model.modules():
        if type(module).__name__ in names:
            module.compile(backend=_BACKEND)
