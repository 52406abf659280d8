"""Which types and bytes llama.cpp's quantizer gives to the tensors of two small made-up models, for every target.

  python oracle/hub_quantize.py    writes crates/hub/tests/fixtures/quantize.json

Needs llama-cpp-python, gguf, numpy. The models are not stored: crates/hub/tests/quantize.rs makes the same ones.
"""

import ctypes
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

OUT = Path(__file__).parent.parent / "crates/hub/tests/fixtures/quantize.json"
TARGETS = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12,
    "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18, "BF16": 32,
}
# Rows are few, as the rules look at columns only. "ragged" has columns that 256, and some that 32, do not divide.
MODELS = {
    "grouped": {"layers": 16, "heads": 32, "kv_heads": 4, "output": True, "cols": 256, "ffn_cols": 512, "gate_cols": 256},
    "ragged": {"layers": 3, "heads": 4, "kv_heads": 4, "output": False, "cols": 288, "ffn_cols": 96, "gate_cols": 48},
}


def tensors(shape):
    """Names and shapes, in the order of the file."""
    yield "token_embd.weight", (3, shape["cols"])
    for i in range(shape["layers"]):
        for name, cols in [
            ("attn_norm", None), ("attn_q", "cols"), ("attn_k", "cols"), ("attn_v", "cols"), ("attn_output", "cols"),
            ("ffn_norm", None), ("ffn_gate", "gate_cols"), ("ffn_up", "cols"), ("ffn_down", "ffn_cols"),
        ]:
            yield f"blk.{i}.{name}.weight", (2, shape[cols]) if cols else (shape["cols"],)
    yield "output_norm.weight", (shape["cols"],)
    if shape["output"]:
        yield "output.weight", (3, shape["cols"])


def values(count, state):
    """A linear congruential generator's upper 24 bits as numbers from -1/8 to 1/8, exact in f32; and its state."""
    out = np.empty(count, np.float32)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = np.float32((state >> 40) - 2**23) * np.float32(2.0**-26)
    return out, state


def write(path, shape):
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(shape["layers"])
    w.add_context_length(64)
    w.add_embedding_length(shape["cols"])
    w.add_feed_forward_length(shape["ffn_cols"])
    w.add_head_count(shape["heads"])
    w.add_head_count_kv(shape["kv_heads"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(3)
    state = 1
    for name, dims in tensors(shape):
        data, state = values(int(np.prod(dims)), state)
        w.add_tensor(name, data.reshape(dims))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def fnv1a(state, data):
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return state


def quantize(source, target, file_type):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type
    params.nthread = 1
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp does not quantize to {file_type}")
    names, types, state = [], [], 0xCBF29CE484222325
    for t in gguf.GGUFReader(target).tensors:
        names.append(t.name)
        types.append(t.tensor_type.name)
        state = fnv1a(state, np.ascontiguousarray(t.data).view(np.uint8).tobytes())
    return names, types, f"{state:016x}"


def main():
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    result = {"versions": {p: version(p) for p in ("llama-cpp-python", "gguf")}, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.gguf", Path(folder) / "target.gguf"
        for model, shape in MODELS.items():
            write(source, shape)
            entry = {"shape": shape, "targets": {}}
            for name, file_type in TARGETS.items():
                try:
                    names, types, checksum = quantize(source, target, file_type)
                except RuntimeError as e:
                    print(model, name, e)
                    continue
                entry["names"] = names
                entry["targets"][name] = {"types": " ".join(types), "fnv1a": checksum}
            result["models"][model] = entry
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
