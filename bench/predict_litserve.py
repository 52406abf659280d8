"""The network of predict.py, and a server of it by LitServe: `predict_litserve.py PORT BATCH`."""

import sys

import litserve
import torch

WIDTH, HIDDEN, CLASSES = 64, 256, 10


def network():
    """64, 256, 256 and 10 numbers, with random weights, always the same."""
    torch.manual_seed(1)
    torch.set_num_threads(1)
    layers = torch.nn.Sequential(torch.nn.Linear(WIDTH, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN),
                                 torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES))
    return layers.eval()


class Single(litserve.LitAPI):
    """One input at a time."""

    def setup(self, device):
        self.layers = network()

    def decode_request(self, request):
        return torch.tensor(request["inputs"])

    def predict(self, inputs):
        with torch.inference_mode():
            return self.layers(inputs)

    def encode_response(self, output):
        return {"result": output.tolist()}


class Batched(Single):
    """Those that arrive within a millisecond together."""

    def batch(self, inputs):
        return torch.stack(inputs)

    def unbatch(self, outputs):
        return list(outputs)


def main():
    port, batch = map(int, sys.argv[1:])
    api = Batched(max_batch_size=batch, batch_timeout=0.001) if batch > 1 else Single()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
