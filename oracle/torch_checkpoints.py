"""State dicts as `torch.save` writes them, and what is in them.

  python oracle/torch_checkpoints.py    writes crates/formats/tests/fixtures/state-dict*.{pth,json}

Needs torch; its version is in the JSON file. Every number is one that all types hold exactly.
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch

OUT = Path(__file__).parent.parent / "crates/formats/tests/fixtures"


def main():
    numbers = torch.arange(-6, 6)
    kinds = ["float32", "float16", "bfloat16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    tensors = OrderedDict((name, numbers.abs().to(getattr(torch, name)) if name[0] == "u" else numbers.to(getattr(torch, name))) for name in kinds)
    tensors["bool"] = numbers > 0
    tensors["float8_e4m3fn"] = numbers.float().to(torch.float8_e4m3fn)
    shared = torch.arange(24).reshape(4, 6) / 4 - 3
    tensors["whole"] = shared
    tensors["tied"] = shared
    tensors["transposed"] = shared.t()
    tensors["part"] = shared[1:3, ::2]
    tensors["repeated"] = shared[2, :3].expand(2, 3)
    tensors["scalar"] = torch.tensor(7.0)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["parameter"] = torch.nn.Parameter(torch.eye(2) / 8)
    trained = {
        "epoch": 3, "loss": 0.25, "name": "tiny", "best": True, "none": None,
        "state_dict": tensors,
        "optimizer": {"state": {0: {"step": torch.tensor(5.0)}}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}]},
    }
    torch.save(trained, OUT / "state-dict.pth")
    torch.save({"a": torch.ones(2)}, OUT / "state-dict-legacy.pth", _use_new_zipfile_serialization=False)

    def values(t):
        return t.detach().double().flatten().tolist() if t.is_floating_point() else t.to(torch.int64).flatten().tolist()

    told = {name: {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "values": values(t)} for name, t in tensors.items()}
    (OUT / "state-dict.json").write_text(json.dumps({"torch": torch.__version__, "tensors": told}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
