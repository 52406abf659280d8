"""Small exported networks of each kind, and what PyTorch answers to given inputs.

  python oracle/graph_golden.py [NAME...]    writes crates/graph/tests/fixtures/NAME.{pt2,json}; all without a name

Needs torch, torchvision, transformers, timm; versions and seed are in the JSON files. Weights are random: what is tested
is that the same numbers come out. A PyTorch other than the newest adds its version to the names:

  python oracle/graph_golden.py mlp cnn --suffix 2.5    writes mlp-2.5.pt2, in the layout of that version
"""

import argparse
import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

OUT = Path(__file__).parent.parent / "crates/graph/tests/fixtures"
SEED = 20261124
# What PyTorch 2.5 has is called AUTO.
DYNAMIC = getattr(torch.export.Dim, "DYNAMIC", None) or torch.export.Dim.AUTO


def randn(*shape):
    """Numbers of two decimals, which are short to write down."""
    return (torch.randn(*shape) * 100).round() / 100


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))

    def forward(self, x):
        return torch.softmax(self.layers(x), dim=-1)


class Cnn(nn.Module):
    """Convolutions of several kinds, normalizations, poolings with and without a rest."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding="same", groups=8)
        self.group = nn.GroupNorm(2, 8)
        self.up = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.head = nn.Linear(4 * 3 * 3, 5)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
        x = F.hardswish(self.group(self.depthwise(x)))
        x = F.avg_pool2d(F.silu(self.up(x)), 2, ceil_mode=True, count_include_pad=False)
        x = F.adaptive_avg_pool2d(F.leaky_relu(x), 3)
        return self.head(x.flatten(1))


class Segmenter(nn.Module):
    """An image in, scores of each pixel out; height and width are dynamic."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.score = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        low = self.score(F.relu6(self.down(x)))
        wide = F.interpolate(low, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return {"out": wide, "classes": wide.argmax(1)}


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return self.head(y), h, c


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x, h):
        y, last = self.gru(x, h)
        return self.head(y[-1]), last


class Views(nn.Module):
    """Views that are changed in place, indices of several kinds, and other shapes."""

    def forward(self, x, ids):
        mask = x.new_zeros(4, 6)
        mask[1:3, :4] = 1
        mask[:, 2] += 2
        picked = x[:, [0, 2], :]
        pairs = x[torch.arange(x.shape[0]), ids]
        rolled = torch.roll(x, shifts=(-1, 2), dims=(1, 2)).flip(2)
        parts = torch.cat([p * i for i, p in enumerate(x.chunk(3, dim=2), 1)], dim=2)
        x = x.clone()
        x[:, 0] = 7.0
        joined = torch.einsum("bij,kj->bik", x * mask, mask) + torch.tril(torch.ones(4, 4))
        whole = torch.where(rolled > 0, rolled, parts.clamp(min=-0.5)).masked_fill(mask == 3, -1.0)
        topped = torch.topk(whole, 2, dim=-1)
        counted = F.pad(ids.cumsum(0), (1, 0)) // 2
        return joined, whole, picked, pairs, topped.values, topped.indices, counted, x.var(dim=(1, 2))


class Attention(nn.Module):
    """Causal and masked attention; a query that may look nowhere."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.narrow = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x, keep):
        q, k, v = (p.unflatten(-1, (2, 4)).transpose(1, 2) for p in self.qkv(x).chunk(3, dim=-1))
        causal = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        masked = F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], attn_mask=keep[:, None], enable_gqa=True)
        other, _ = self.narrow(x, x, x, need_weights=False)
        return causal, masked, other


def transformers_models():
    import transformers as t

    ids = lambda b, s: torch.randint(1, 40, (b, s))
    def text(b, s):
        mask = torch.ones(b, s, dtype=torch.long)
        mask[0, s - 2 :] = 0
        return ids(b, s), mask
    text_dynamic = ({0: DYNAMIC, 1: DYNAMIC},) * 2
    image = lambda b: (randn(b, 3, 16, 16),)
    image_dynamic = ({0: DYNAMIC},)
    small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    two = lambda make: [make(2, 6), make(3, 4)]
    yield "bert", lambda: t.BertForSequenceClassification(
        t.BertConfig(vocab_size=40, max_position_embeddings=16, **small)), two(text), text_dynamic
    yield "distilbert", lambda: t.DistilBertForSequenceClassification(
        t.DistilBertConfig(vocab_size=40, dim=16, hidden_dim=24, n_layers=1, n_heads=2, max_position_embeddings=16)), two(text), text_dynamic
    yield "t5-encoder", lambda: t.T5EncoderModel(
        t.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)), two(text), text_dynamic
    yield "vit", lambda: t.ViTForImageClassification(
        t.ViTConfig(image_size=16, patch_size=4, num_labels=5, **small)), [image(2), image(1)], image_dynamic
    yield "convnext", lambda: t.ConvNextForImageClassification(
        t.ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1], num_stages=2, num_labels=5)), [image(2), image(1)], image_dynamic
    yield "resnet", lambda: t.ResNetForImageClassification(
        t.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=5)), [image(2), image(1)], image_dynamic
    clip = t.CLIPConfig(
        text_config=dict(vocab_size=40, max_position_embeddings=16, eos_token_id=39, bos_token_id=1, **small),
        vision_config=dict(image_size=16, patch_size=8, **small), projection_dim=8)
    def pair(b, s, n):
        tokens, mask = text(b, s)
        return tokens, image(n)[0], mask
    yield "clip", lambda: t.CLIPModel(clip), [pair(2, 6, 2), pair(3, 5, 2)], (text_dynamic[0], {0: DYNAMIC}, text_dynamic[0])


def vision_models():
    from torchvision.models.swin_transformer import SwinTransformer

    yield "swin", lambda: SwinTransformer([4, 4], 8, [2, 1], [1, 2], [4, 4], num_classes=5), [
        (randn(2, 3, 20, 20),), (randn(1, 3, 20, 20),)], ({0: DYNAMIC},)


def plain_models():
    b = {0: DYNAMIC}
    yield "mlp", Mlp, [(randn(3, 6),), (randn(1, 6),)], (b,)
    yield "cnn", Cnn, [(randn(2, 3, 18, 18),), (randn(1, 3, 18, 18),)], (b,)
    yield "segmenter", Segmenter, [(randn(2, 3, 12, 10),), (randn(1, 3, 7, 9),)], ({0: DYNAMIC, 2: DYNAMIC, 3: DYNAMIC},)
    yield "lstm", Lstm, [(randn(2, 6, 4),), (randn(3, 6, 4),)], (b,)
    state = lambda n: (randn(5, n, 4), randn(1, n, 5))
    yield "gru", Gru, [state(2), state(3)], ({1: DYNAMIC}, {1: DYNAMIC})
    views = lambda n: (randn(n, 4, 6), torch.randint(0, 4, (n,)))
    yield "views", Views, [views(3), views(2)], (b, b)
    keep = torch.rand(3, 5, 5) > 0.4
    keep[0, 2] = False
    yield "attention", Attention, [(randn(3, 5, 8), keep), (randn(2, 4, 8), keep[:2, :4, :4])], (
        {0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC, 1: DYNAMIC, 2: DYNAMIC})


def models():
    yield from plain_models()
    try:
        yield from transformers_models()
        yield from vision_models()
    except ImportError as e:
        print(f"left out: {e}")


class Autocast(nn.Module):
    """A product in another precision than its numbers are."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(randn(3, 3))

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ self.weight
        return y.float()


# What is not lowered, for the error that says so.
REFUSED = {"autocast": (Autocast, (torch.ones(2, 3),))}
# The same after run_decompositions, in the core operators alone.
DECOMPOSED = ["cnn", "bert"]


def export(model, args, dynamic, decompose=False):
    """The program, without what only says which line of Python a node comes from."""
    with torch.no_grad():
        program = torch.export.export(model, args, dynamic_shapes=dynamic, strict=False)
        if decompose:
            program = program.run_decompositions()
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(key, None)
    return program


def flat(value):
    return [t for t in torch.utils._pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def tensor(t):
    # The shortest decimals that give the same single-precision number.
    data = [float(str(x)) if t.is_floating_point() else int(x) for x in t.detach().reshape(-1).numpy()]
    return {"dtype": str(t.dtype).removeprefix("torch."), "shape": list(t.shape), "data": data}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--suffix", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    (OUT / "refused").mkdir(parents=True, exist_ok=True)
    for name, (make, args) in REFUSED.items():
        if not options.names or name in options.names:
            torch.manual_seed(SEED)
            torch.export.save(export(make().eval(), args, None), str(OUT / "refused" / f"{name}.pt2"))
    for name, make, cases, dynamic in models():
        for decompose in (False, True):
            full = name + ("-core" if decompose else "") + (f"-{options.suffix}" if options.suffix else "")
            wanted = name + ("-core" if decompose else "")
            if options.names and wanted not in options.names or decompose and name not in DECOMPOSED:
                continue
            torch.manual_seed(SEED)
            model = make().eval()
            for p in model.parameters():
                if p.dim() == 1:
                    nn.init.normal_(p, 0.2, 0.5)
            program = export(model, cases[0], dynamic, decompose)
            torch.export.save(program, str(OUT / f"{full}.pt2"))
            golden = {"torch": torch.__version__, "seed": SEED, "cases": []}
            with torch.no_grad():
                for args in cases:
                    golden["cases"].append({"inputs": [tensor(t) for t in args], "outputs": [tensor(t) for t in flat(model(*args))]})
            (OUT / f"{full}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
            print(full, (OUT / f"{full}.pt2").stat().st_size, (OUT / f"{full}.json").stat().st_size, flush=True)


if __name__ == "__main__":
    main()
