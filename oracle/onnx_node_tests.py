"""ONNX's own tests of each operator, which the Python package onnx makes when asked, as files.

  python oracle/onnx_node_tests.py FOLDER    writes FOLDER/NAME/{model.onnx,test_data_set_N/{input,output}_M.pb}

The layout is that of ONNX's own test data. Needs onnx alone. Cases with an input or output that is no tensor have the model only.
"""

import sys
from pathlib import Path

from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_node_model_tests


def tensor(value):
    return value if isinstance(value, TensorProto) else numpy_helper.from_array(value)


def write(case, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    graph = case.model.graph
    if not all(value.type.HasField("tensor_type") for value in [*graph.input, *graph.output]):
        return
    for i, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{i}"
        data.mkdir(exist_ok=True)
        for kind, values in (("input", inputs), ("output", outputs)):
            for j, value in enumerate(values):
                (data / f"{kind}_{j}.pb").write_bytes(tensor(value).SerializeToString())


def main():
    for case in load_node_model_tests():
        write(case, Path(sys.argv[1]) / case.name)


if __name__ == "__main__":
    main()
