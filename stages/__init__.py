"""The stages of the pipeline: one module each, run as ``python -m stages.NAME``."""

import logging as _logging

# These warn, while a stage imports them, that kernels for other hardware are missing. Their
# loggers are set here, because this runs before the imports of any stage.
for _name in ("torchao", "torch.utils._pytree", "bitsandbytes.backends.cpu.ops"):
    _logging.getLogger(_name).setLevel(_logging.ERROR)
