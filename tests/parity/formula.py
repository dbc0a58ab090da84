"""A parity case's weights: each parameter's values follow from its name, so that no checkpoint is stored.

The scheme is the parity format's: a generator seeded by the CRC of "salt:name"; variances uniform in [0.5, 1.5), shifts
0.1 N(0, 1), other vectors 1 + 0.1 N(0, 1), matrices and kernels N(0, 1) / sqrt(fan in). What a parameter is, its name
and its number of axes tell.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence

import numpy as np


def values_of(name: str, shape: Sequence[int], *, salt: int, channels_last: bool) -> np.ndarray:
    """Return the float32 values of parameter `name`; channels_last: (…, in, out) as in Keras, else (out, in, …)."""
    generator = np.random.default_rng(zlib.crc32(f"{salt}:{name}".encode()))
    shape = tuple(shape)
    leaf = re.split(r"[./]", name.split(":")[0])[-1]
    last_word = leaf.split("_")[-1]
    if leaf.endswith(("moving_variance", "running_var")):
        values = generator.uniform(0.5, 1.5, shape)
    elif leaf.endswith(("bias", "beta", "moving_mean", "running_mean")) or (
        len(shape) == 1 and last_word.startswith("b")
    ):
        values = 0.1 * generator.standard_normal(shape)
    elif len(shape) < 2:
        values = 1.0 + 0.1 * generator.standard_normal(shape)
    else:
        fan_in = math.prod(shape[:-1] if channels_last else shape[1:])
        values = generator.standard_normal(shape) / np.sqrt(fan_in)
    return np.asarray(values, dtype=np.float32)
