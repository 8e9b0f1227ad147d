"""The type of a checkpoint's weights as it is in its safetensors files, which its configuration may
not know.
"""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I8": "int8",
    "U8": "uint8",
}


def dtype_in_files(paths: Iterable[Path]) -> str:
    """Return the type of most numbers in the safetensors files, such as bfloat16; empty without
    files that can be read.
    """
    numbers: Counter[str] = Counter()
    for path in paths:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118
                    tensor = file.get_slice(name)
                    numbers[tensor.get_dtype()] += math.prod(tensor.get_shape())
        except (SafetensorError, OSError):
            continue
    if not numbers:
        return ""
    ((most, _),) = numbers.most_common(1)
    return NAMES.get(most, most.lower())
