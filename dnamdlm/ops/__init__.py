"""Tensor primitives: each has a clear reference and a fast portable form, some a compiled one.

`set_mode` chooses for the process, the argument `mode` for one call; the result is the same but for
rounding. See `dnamdlm.ops.selection`.
"""

from dnamdlm.ops.attention import AttentionPattern, attend, attention_pattern
from dnamdlm.ops.conv import causal_conv, causal_conv_both, depthwise_conv
from dnamdlm.ops.norm import add_layer_norm, layer_norm, modulate, rms_norm
from dnamdlm.ops.precision import get_precision, set_precision
from dnamdlm.ops.rotary import apply_rotary, rotary_angles
from dnamdlm.ops.scan import scan_both, selective_scan
from dnamdlm.ops.selection import Mode, forced, get_mode, set_mode

__all__ = [
    "AttentionPattern",
    "Mode",
    "add_layer_norm",
    "apply_rotary",
    "attend",
    "attention_pattern",
    "causal_conv",
    "causal_conv_both",
    "depthwise_conv",
    "forced",
    "get_mode",
    "get_precision",
    "layer_norm",
    "modulate",
    "rms_norm",
    "rotary_angles",
    "scan_both",
    "selective_scan",
    "set_mode",
    "set_precision",
]
