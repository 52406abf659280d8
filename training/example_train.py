"""Trains `example`, the network that `/predict` runs unless another is named: is a row of numbers rising?

  python example_train.py FOLDER [--steps N]    writes FOLDER/example.pt2, tells its scores

A row is a straight line with noise: any length, any scale and offset. The score is the probability that the line under
the noise rises. Nobody can always tell; the best that is possible is the sign of the least-squares slope, whose accuracy
is printed beside the network's.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import nn

LENGTHS = (2, 64)


class Example(nn.Module):
    """Looks at each number with its place in the row, and at the mean of what it saw."""

    def __init__(self, width=48):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.whole = nn.Sequential(nn.Linear(width + 1, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, numbers):
        """(B, L) numbers to (B,) scores from 0 to 1."""
        place = torch.cumsum(torch.ones_like(numbers), -1)
        length = place.amax(-1, keepdim=True)
        place = (place - place.mean(-1, keepdim=True)) / length
        centred = numbers - numbers.mean(-1, keepdim=True)
        # The largest distance first, so that squares of huge numbers do not overflow.
        value = centred / (centred.abs().amax(-1, keepdim=True) + 1e-30)
        value = value / ((value * value).mean(-1, keepdim=True) + 1e-12).sqrt()
        seen = self.each(torch.stack((place, value, place * value), -1)).mean(-2)
        return torch.sigmoid(self.whole(torch.cat((seen, length.log()), -1))).squeeze(-1)


def rows(generator, batch):
    """(B, L) rows of one random length, and (B,) whether the line of each rises."""
    low, high = LENGTHS
    length = int(torch.exp(torch.empty(()).uniform_(math.log(low), math.log(high + 1), generator=generator)))
    slope = torch.randn(batch, 1, generator=generator)
    noise = torch.exp(torch.empty(batch, 1).uniform_(-3, 1, generator=generator))
    place = torch.linspace(-0.5, 0.5, length)
    row = slope * place + noise * torch.randn(batch, length, generator=generator)
    scale = torch.exp(torch.empty(batch, 1).uniform_(-7, 7, generator=generator))
    offset = scale * 3 * torch.randn(batch, 1, generator=generator)
    return row * scale + offset, (slope[:, 0] > 0).float()


def scores(network, generator, batches=200):
    """Accuracy of the network and of the least-squares slope, and the network's mean cross-entropy, on new rows."""
    right = best = loss = count = 0
    with torch.no_grad():
        for _ in range(batches):
            numbers, rises = rows(generator, 256)
            score = network(numbers)
            place = torch.arange(numbers.shape[1]) - (numbers.shape[1] - 1) / 2
            slope = (numbers.double() * place).sum(-1)
            right += ((score > 0.5) == (rises > 0.5)).sum().item()
            best += ((slope > 0) == (rises > 0.5)).sum().item()
            loss += nn.functional.binary_cross_entropy(score, rises, reduction="sum").item()
            count += len(rises)
    return right / count, best / count, loss / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    network = Example()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=options.steps)
    for _ in range(options.steps):
        numbers, rises = rows(generator, 512)
        loss = nn.functional.binary_cross_entropy(network(numbers), rises)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    accuracy, best, loss = scores(network, torch.Generator().manual_seed(options.seed + 1))
    print(f"accuracy {accuracy:.2%} (least squares {best:.2%}), cross-entropy {loss:.4f}")
    parameters = sum(p.numel() for p in network.parameters())
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(network, (torch.randn(3, 5),), dynamic_shapes=({0: dynamic, 1: dynamic},))
    for node in program.graph.nodes:
        # Where in which file of this machine it comes from.
        node.meta.pop("stack_trace", None)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "example.pt2"
    torch.export.save(program, path)
    print(f"{parameters} parameters, {path.stat().st_size} bytes")
    for row in ([1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [1, 2, 3], [2, 1, 3], [7]):
        print(row, round(network(torch.tensor([row], dtype=torch.float)).item(), 4))


if __name__ == "__main__":
    main()
