"""Blocks as ggml writes and reads them: the reference of crates/formats/tests/quant.rs.

Quantization comes from ggml's C library (`ggml_quantize_chunk` of the libggml-base that the PyPI package
llama-cpp-python builds), dequantization from the PyPI package gguf. Usage: python oracle/quant_blocks.py
"""

import ctypes
import importlib.metadata
import json
import pathlib

import gguf
import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Type

SEED = 20261
CASE = 768  # three super-blocks of 256
TYPES = "F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K".split()
HALF_AT = {  # where a block's f16 factors lie
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}  # fmt: skip


def inputs(rng):
    """Named arrays of CASE values."""
    normal = rng.standard_normal(CASE)
    sparse = np.where(rng.random(CASE) < 0.9, 0.0, normal)
    outliers = np.where(rng.random(CASE) < 0.02, normal * 50, normal * 0.02)
    return {
        "normal": normal,
        "weights": rng.standard_normal(CASE) * 0.02,
        "uniform": rng.uniform(-1, 1, CASE),
        "heavy_tails": rng.standard_t(2, CASE) * 0.05,
        "shifted": normal + 3,
        "zeros": np.zeros(CASE),
        "negative_zeros": -np.zeros(CASE),
        "constant": np.full(CASE, 0.3),
        "negative_constant": np.full(CASE, -7.25),
        "positive_only": np.abs(normal),
        "negative_only": -np.abs(normal),
        "sparse": sparse,
        "outliers": outliers,
        "alternating": np.where(np.arange(CASE) % 2 == 0, 1.0, -1.0),
        "ramp": np.arange(CASE) - CASE / 2,
        "ties": rng.integers(-16, 17, CASE) / 2,
        "group_scales": normal * 10.0 ** rng.integers(-4, 5, CASE // 16).repeat(16),
        "zero_groups": normal * (rng.random(CASE // 16) < 0.5).repeat(16),
        "near_f16_limit": normal * 3e4,
        "beyond_f16": normal * 1e8,
        "huge": normal * 1e30,
        "small": normal * 1e-6,
        "below_f16": normal * 1e-10,
        "negligible": normal * 1e-17,
        "subnormal": normal * 1e-40,
    }


def quantize(library, kind, values):
    """The bytes that ggml makes of an f32 array."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(len(values) // block * size, np.uint8)
    written = library.ggml_quantize_chunk(
        int(kind), values.ctypes.data, out.ctypes.data, 0, len(values) // CASE, CASE, None
    )
    assert written == len(out), (kind, written, len(out))
    return out


def random_blocks(rng, name, count):
    """Blocks of random bytes with finite factors."""
    kind = Type[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (count, size), np.uint8)
    for at in HALF_AT.get(name, []):
        factors = (rng.standard_normal(count) * 10.0 ** rng.integers(-6, 3, count)).astype(np.float16)
        blocks[:, at : at + 2] = factors.view(np.uint8).reshape(count, 2)
    if name in ("F16", "BF16"):
        blocks[:, 1] &= 0xBB if name == "F16" else 0xBF  # exponents below all ones
    return blocks


def main():
    rng = np.random.default_rng(SEED)
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(folder / "libggml-base.so"))
    pointer, i64 = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, i64, i64, i64, pointer]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t

    parts, table = [], {}

    def keep(name, array):
        data = np.ascontiguousarray(array).tobytes()
        table[name] = [sum(map(len, parts)), len(data)]
        parts.append(data)

    cases = {name: x.astype(np.float32) for name, x in inputs(rng).items()}
    values = np.concatenate(list(cases.values()))
    keep("values", values)
    for name in TYPES:
        keep(f"quantized {name}", quantize(library, Type[name], values))
    for name in TYPES:
        block, _ = gguf.GGML_QUANT_SIZES[Type[name]]
        blocks = random_blocks(rng, name, 1024 // block)
        read = gguf.quants.dequantize(blocks.reshape(1, -1), Type[name]).astype(np.float32)
        keep(f"blocks {name}", blocks)
        keep(f"read {name}", read)

    out = pathlib.Path(__file__).parent.parent / "crates/formats/tests/fixtures/quant"
    out.mkdir(parents=True, exist_ok=True)
    (out / "reference.bin").write_bytes(b"".join(parts))
    packages = ("gguf", "llama-cpp-python", "numpy")
    description = {
        "made_by": "oracle/quant_blocks.py",
        "seed": SEED,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "values_per_case": CASE,
        "cases": list(cases),
        "parts": table,
    }
    (out / "reference.json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    main()
