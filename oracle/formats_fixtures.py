"""Small files made by the reference implementations, and what they say is in them.

  python oracle/formats_fixtures.py    writes crates/formats/tests/fixtures/{gguf,safetensors,rope}.*

Needs gguf, safetensors, transformers, torch, numpy. Versions and the seed are in the JSON files.
"""

import json
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from safetensors.torch import save_file
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = Path(__file__).parent.parent / "crates/formats/tests/fixtures"
SEED = 20261122


def versions(*packages):
    return {p: version(p) for p in packages} | {"seed": SEED}


VALUES = [  # key, value, type
    ("test.u8", 255, GGUFValueType.UINT8),
    ("test.i8", -128, GGUFValueType.INT8),
    ("test.u16", 65535, GGUFValueType.UINT16),
    ("test.i16", -32768, GGUFValueType.INT16),
    ("test.u32", 4294967295, GGUFValueType.UINT32),
    ("test.i32", -2147483648, GGUFValueType.INT32),
    ("test.f32", 0.15625, GGUFValueType.FLOAT32),
    ("test.bool", True, GGUFValueType.BOOL),
    ("test.string", "Grüße, 世界 🌍", GGUFValueType.STRING),
    ("test.u64", 18446744073709551615, GGUFValueType.UINT64),
    ("test.i64", -9223372036854775808, GGUFValueType.INT64),
    ("test.f64", 1e300, GGUFValueType.FLOAT64),
]
ARRAYS = [  # key, elements, type of the elements
    ("test.u8s", [0, 7, 255], GGUFValueType.UINT8),
    ("test.i16s", [-1, 2], GGUFValueType.INT16),
    ("test.i32s", [1, -2, 3], GGUFValueType.INT32),
    ("test.f32s", [0.5, -1.25], GGUFValueType.FLOAT32),
    ("test.bools", [True, False, True], GGUFValueType.BOOL),
    ("test.strings", ["a", "", "ß"], GGUFValueType.STRING),
    ("test.u64s", [1, 2**63], GGUFValueType.UINT64),
    ("test.f64s", [1e-300], GGUFValueType.FLOAT64),
    ("test.nested", [[1, 2], [3]], GGUFValueType.ARRAY),
]


def write_gguf(path: Path, alignment):
    rng = np.random.default_rng(SEED)
    w = GGUFWriter(path, "llama")
    if alignment:
        w.add_custom_alignment(alignment)
    for key, value, kind in VALUES:
        w.add_key_value(key, value, kind)
    for key, value, kind in ARRAYS:
        w.add_key_value(key, value, GGUFValueType.ARRAY, sub_type=kind)
    w.add_tensor("vector", rng.standard_normal(5).astype(np.float32))
    w.add_tensor("half", rng.standard_normal((3, 4)).astype(np.float16))
    w.add_tensor("cube", rng.standard_normal((2, 3, 4)).astype(np.float32))
    matrix = rng.standard_normal((2, 64)).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        w.add_tensor(kind.name.lower(), gguf.quants.quantize(matrix, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def gguf_fixtures():
    write_gguf(OUT / "v3.gguf", None)
    write_gguf(OUT / "v3-aligned-64.gguf", 64)
    # Version 2 has the layout of version 3 in a little-endian file; gguf writes only the latter.
    data = bytearray((OUT / "v3.gguf").read_bytes())
    data[4:8] = (2).to_bytes(4, "little")
    (OUT / "v2.gguf").write_bytes(data)
    reader = GGUFReader(OUT / "v3.gguf")
    tensors = [
        {
            "name": t.name,
            "type": t.tensor_type.name,
            "shape": [int(d) for d in reversed(t.shape)],
            "values": [float(v) for v in gguf.quants.dequantize(t.data, t.tensor_type).flatten()],
        }
        for t in reader.tensors
    ]
    values = {k: str(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v, _ in VALUES}
    expected = {"versions": versions("gguf", "numpy"), "values": values, "arrays": {k: v for k, v, _ in ARRAYS}, "tensors": tensors}
    expected["arrays"]["test.u64s"] = [str(v) for v in expected["arrays"]["test.u64s"]]
    (OUT / "gguf.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")


def safetensors_fixtures():
    torch.manual_seed(SEED)
    tensors = {
        "f32": torch.randn(2, 3),
        "f16": torch.randn(4).half(),
        "bf16": torch.randn(2, 2, 2).bfloat16(),
        "i64": torch.arange(3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }
    save_file(tensors, OUT / "types.safetensors", metadata={"format": "pt"})
    expected = {
        "versions": versions("safetensors", "torch"),
        "tensors": {k: {"shape": list(t.shape), "values": t.float().flatten().tolist()} for k, t in tensors.items()},
    }
    (OUT / "safetensors.json").write_text(json.dumps(expected, indent=1) + "\n")


def rope_fixtures():
    """Frequencies of transformers for each kind of scaling that the translation expresses in GGUF."""
    cases = []
    for theta, head_dim, scaling in [
        (500000.0, 64, {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
        (500000.0, 128, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
        (10000.0, 64, {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 2.0, "high_freq_factor": 8.0, "original_max_position_embeddings": 512}),
    ]:
        config = LlamaConfig(
            hidden_size=head_dim * 2,
            num_attention_heads=2,
            head_dim=head_dim,
            max_position_embeddings=131072,
            rope_parameters=scaling | {"rope_theta": theta},
        )
        frequencies, factor = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        assert factor == 1.0
        cases.append({"rope_theta": theta, "head_dim": head_dim, "rope_scaling": scaling, "frequencies": frequencies.tolist()})
    (OUT / "rope.json").write_text(json.dumps({"versions": versions("transformers", "torch"), "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    gguf_fixtures()
    safetensors_fixtures()
    rope_fixtures()
