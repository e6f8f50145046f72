"""The stages of the pipeline: one module each, run as ``python -m stages.NAME``."""

import atexit as _atexit
import gc as _gc
import logging as _logging

# By default Python looks for garbage after every 700 new objects, and the libraries create over a
# million while they are imported. It looks at all of them again when a process ends. Both together
# take two seconds of a training stage.
_gc.set_threshold(100_000)
_atexit.register(_gc.freeze)

# These warn, while a stage imports them, that kernels for other hardware are missing. Their
# loggers are set here, because this runs before the imports of any stage.
for _name in ("torchao", "torch.utils._pytree", "bitsandbytes.backends.cpu.ops"):
    _logging.getLogger(_name).setLevel(_logging.ERROR)
