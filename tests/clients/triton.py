"""Triton's Python client against a running server: `triton.py BASE_URL`.

Describes, loads, infers (numbers, bytes, classes, compressed bodies) and unloads with the built-in network and with the versions of one
that `run.sh` puts there, and sees the client's own typed errors on bad requests. Exits non-zero at the first expectation that does not hold.
"""

import sys
from urllib.parse import urlsplit

import numpy
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

NETWORK, INPUT, OUTPUT = "example", "numbers", "squeeze"
VERSIONS = "versions"
ROWS = numpy.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]], dtype=numpy.float32)


def tensor(values, datatype="FP32", binary=True):
    made = triton.InferInput(INPUT, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def refused(status, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        assert error.status() == str(status) and error.message(), error
    else:
        raise AssertionError(f"{arguments} {named} was not refused")


def describe(client):
    assert client.is_server_live() and client.is_server_ready()
    server = client.get_server_metadata()
    assert server["name"] == "hearth" and "binary_tensor_data" in server["extensions"], server
    for version in ("", "1"):
        assert client.is_model_ready(NETWORK, version)
        model = client.get_model_metadata(NETWORK, version)
        assert [given["name"] for given in model["inputs"]] == [INPUT], model
        assert model["inputs"][0]["datatype"] == "FP32" and model["inputs"][0]["shape"] == [-1, -1], model
        config = client.get_model_config(NETWORK, version)
        assert config["max_batch_size"] > 1 and config["input"][0]["data_type"] == "TYPE_FP32", config
    assert not client.is_model_ready("no-such") and not client.is_model_ready(NETWORK, "2")
    refused(404, client.get_model_metadata, "no-such")
    refused(404, client.get_model_metadata, NETWORK, "2")


def infer(client):
    first = client.infer(NETWORK, [tensor(ROWS)], request_id="r-1")
    scores = first.as_numpy(OUTPUT)
    assert first.get_response()["id"] == "r-1", first.get_response()
    assert scores.dtype == numpy.float32 and scores.shape[0] == 2, scores
    assert scores.ravel()[0] > 0.9 > 0.1 > scores.ravel()[1], scores
    for binary_in in (False, True):
        for binary_out in (False, True):
            wanted = [triton.InferRequestedOutput(OUTPUT, binary_data=binary_out)]
            again = client.infer(NETWORK, [tensor(ROWS, binary=binary_in)], outputs=wanted, model_version="1")
            assert numpy.allclose(again.as_numpy(OUTPUT), scores), (binary_in, binary_out)
    for algorithm in ("gzip", "deflate"):
        many = numpy.repeat(ROWS, 300, axis=0)
        packed = client.infer(NETWORK, [tensor(many)], request_compression_algorithm=algorithm,
                              response_compression_algorithm=algorithm)
        assert numpy.allclose(packed.as_numpy(OUTPUT)[:300], scores[0]), algorithm
    prompt = client.infer(NETWORK, [tensor(ROWS)], priority=1, timeout=60_000_000)
    assert numpy.allclose(prompt.as_numpy(OUTPUT), scores)
    answers = [client.async_infer(NETWORK, [tensor(ROWS)]) for _ in range(16)]
    for answer in answers:
        assert numpy.allclose(answer.get_result().as_numpy(OUTPUT), scores)


def classes(client):
    for binary in (False, True):
        wanted = [triton.InferRequestedOutput(OUTPUT, binary_data=binary, class_count=1)]
        best = client.infer(NETWORK, [tensor(ROWS)], outputs=wanted).as_numpy(OUTPUT)
        text = best.ravel()[0]
        value, index = (text.decode() if isinstance(text, bytes) else text).split(":")
        assert 0.9 < float(value) <= 1 and index == "0", best


def errors(client):
    refused(404, client.infer, "no-such", [tensor(ROWS)])
    refused(400, client.infer, NETWORK, [tensor(ROWS.astype(numpy.float64), "FP64")])
    refused(400, client.infer, NETWORK, [tensor(ROWS.ravel())])
    refused(400, client.infer, NETWORK, [tensor(ROWS)], outputs=[triton.InferRequestedOutput("no-such")])
    refused(400, client.infer, NETWORK, [tensor(ROWS)], sequence_id=7)
    texts = numpy.array([["a", "b"]], dtype=numpy.object_)
    refused(400, client.infer, NETWORK, [tensor(texts, "BYTES")])


def repository(client):
    def state():
        return {model["name"]: model["state"] for model in client.get_model_repository_index()}[NETWORK]
    client.load_model(NETWORK)
    assert state() == "READY"
    stats = client.get_inference_statistics(NETWORK)["model_stats"][0]
    assert stats["inference_count"] > 0 and stats["batch_stats"], stats
    assert NETWORK in [model["name"] for model in client.get_inference_statistics()["model_stats"]]
    client.unload_model(NETWORK)
    assert state() == "UNAVAILABLE"
    refused(404, client.load_model, "no-such")
    refused(400, client.load_model, NETWORK, config="{}")
    client.load_model(NETWORK)
    assert state() == "READY"


def versions(client):
    if VERSIONS not in [model["name"] for model in client.get_model_repository_index()]:
        print(f"triton.py: the server has no network '{VERSIONS}', so its versions are not tried")
        return

    def states():
        index = client.get_model_repository_index()
        return {model["version"]: model["state"] for model in index if model["name"] == VERSIONS}
    assert client.get_model_metadata(VERSIONS)["versions"] == ["1", "2"]
    for version in ("1", "2"):
        answer = client.infer(VERSIONS, [tensor(ROWS)], model_version=version)
        assert answer.get_response()["model_version"] == version, answer.get_response()
    newest = client.infer(VERSIONS, [tensor(ROWS)])
    assert newest.get_response()["model_version"] == "2", newest.get_response()
    assert client.get_model_config(VERSIONS, "1")["max_batch_size"] == 8
    stats = client.get_inference_statistics(VERSIONS)["model_stats"]
    assert sorted(entry["version"] for entry in stats) == ["1", "2"], stats
    assert [entry["version"] for entry in client.get_inference_statistics(VERSIONS, "1")["model_stats"]] == ["1"]
    refused(404, client.infer, VERSIONS, [tensor(ROWS)], model_version="3")
    assert not client.is_model_ready(VERSIONS, "3")
    client.unload_model(VERSIONS)
    assert set(states().values()) == {"UNAVAILABLE"}, states()
    client.load_model(VERSIONS)
    assert states() == {"1": "READY", "2": "READY"}, states()


def main():
    with triton.InferenceServerClient(urlsplit(sys.argv[1]).netloc, concurrency=4) as client:
        for check in (describe, infer, classes, errors, repository, versions):
            check(client)
            print(f"triton.py: {check.__name__} ok")


main()
