"""Layer norms in one kernel on CPUs: vLLM has the kernels but uses them on GPUs only.

vLLM's eager mode on a CPU computes a norm in a dozen PyTorch calls, a tenth of a step for a
small model. This module registers the kernels through vLLM's extension point for operations;
import it before an engine starts.
"""

from vllm import ir
from vllm.kernels import vllm_c

_PROVIDER = "vllm_c_cpu"

# For ``EngineArgs.ir_op_priority``: which implementation of an operation comes first.
PRIORITY = {"rms_norm": [_PROVIDER], "fused_add_rms_norm": [_PROVIDER]}

ir.ops.rms_norm.register_impl(_PROVIDER, supports_args=vllm_c.rms_no_var_size)(
    vllm_c.rms_norm.impl_fn
)
ir.ops.fused_add_rms_norm.register_impl(
    _PROVIDER, supports_args=vllm_c.rms_add_no_var_size, inplace=True
)(vllm_c.fused_add_rms_norm.impl_fn)
