"""The small networks of graph_golden.py in TorchScript, traced and scripted, and what PyTorch answers to given inputs.

  python oracle/script_golden.py [NAME...]    writes crates/graph/tests/fixtures/script/NAME.{pt,json}; all without a name

Needs torch, torchvision, transformers, timm, as graph_golden.py does. A name that ends in -scripted is compiled by
torch.jit.script, which says nothing of the inputs; others are traced with the first case.
"""

import json
import sys
import warnings

import torch
from torch import nn
from torch.nn import functional as F

import graph_golden as golden
from graph_golden import SEED, randn

OUT = golden.OUT / "script"
TRACED = ["mlp", "cnn", "segmenter", "lstm", "gru", "views", "attention", "bert", "distilbert", "vit"]
# What they are scripted for: loops, conditions, lists, calls of functions, attributes.
SCRIPTED = ["cnn-scripted", "lstm-scripted", "branches-scripted"]


class Block(nn.Module):
    """Two convolutions and a way around them; the sum is changed in place."""

    def __init__(self, channels: int, wide: bool):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3 if wide else 1, padding=1 if wide else 0)
        self.wide = wide

    def forward(self, x):
        y = F.relu_(self.norm(self.first(x)))
        y = self.second(y)
        y += x
        return F.relu_(y)


class Residual(nn.Module):
    """A tiny residual network."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(Block(4, True), Block(4, False))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.blocks(F.max_pool2d(self.stem(x), 3, 2, 1))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Flat(nn.Module):
    """A head that takes images of one size only."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.head = nn.Linear(2 * 5 * 5, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return F.log_softmax(self.head(x.view(x.size(0), -1)), dim=1)


class Branches(nn.Module):
    """Control flow that is the same for all inputs."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.scale = 0.5
        self.deep = True

    def mixed(self, x, how: str):
        if how == "mean":
            return x.mean(1)
        elif how == "max":
            return x.max(1)[0]
        raise ValueError(how)

    def forward(self, ids, weights: torch.Tensor | None = None):
        x = self.embed(ids)
        seen: list[torch.Tensor] = []
        for i, layer in enumerate(self.layers):
            x = layer(x).tanh() * self.scale + i
            if i % 2 == 0 and self.deep:
                seen.append(x)
        if weights is not None:
            x = x * weights
        kinds = ["mean", "max"]
        both = [self.mixed(torch.cat(seen, dim=-1), kind) for kind in kinds]
        while len(both) < 3:
            both.append(both[-1] + 1)
        return {"pooled": torch.stack(both, 1), "count": torch.tensor(len(seen))}


class Lists(nn.Module):
    """Inputs that are lists, dictionaries and tuples of tensors."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(5, 3)

    def forward(self, images: list[torch.Tensor], sizes: dict[str, torch.Tensor], pair: tuple[torch.Tensor, torch.Tensor]):
        x = torch.cat([self.first(image) for image in images], dim=1)
        y = self.second(pair[1]) * sizes["height"] + sizes["width"]
        return x * pair[0], y


def more_models():
    image = lambda b, side=16: (randn(b, 3, side, side),)
    yield "residual", Residual, [image(2), image(3, 20)]
    yield "flat", Flat, [(randn(2, 1, 12, 12),), (randn(1, 1, 12, 12),)]
    ids = lambda b, n: (torch.randint(0, 20, (b, n)),)
    yield "branches", Branches, [ids(2, 5), ids(3, 4)]
    lists = lambda b: ([randn(b, 4), randn(b, 4)], {"height": randn(b, 1), "width": randn(b, 1)}, (randn(b, 1), randn(b, 5)))
    yield "lists", Lists, [lists(2), lists(3)]


def models():
    for name, make, cases, _ in golden.models():
        yield name, make, cases
    yield from more_models()


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or [*TRACED, "residual", "flat", "lists", *SCRIPTED, "flat-scripted"]
    for name, make, cases in models():
        for full in (name, f"{name}-scripted"):
            if full not in wanted:
                continue
            torch.manual_seed(SEED)
            model = make().eval()
            for p in model.parameters():
                if p.dim() == 1:
                    nn.init.normal_(p, 0.2, 0.5)
            with torch.no_grad():
                module = torch.jit.script(model) if full != name else torch.jit.trace(model, cases[0], strict=False)
                torch.jit.save(module, str(OUT / f"{full}.pt"))
                cases_out = [
                    {"inputs": [golden.tensor(t) for t in golden.flat(args)], "outputs": [golden.tensor(t) for t in golden.flat(model(*args))]}
                    for args in cases]
            said = {"torch": torch.__version__, "seed": SEED, "cases": cases_out}
            (OUT / f"{full}.json").write_text(json.dumps(said, separators=(",", ":")) + "\n")
            print(full, (OUT / f"{full}.pt").stat().st_size, (OUT / f"{full}.json").stat().st_size, flush=True)


if __name__ == "__main__":
    main()
