"""Models of torchvision, timm and transformers with random weights: exported, lowered, and run on both engines.

  cargo build --release -p hearth -p hearth-graph --example golden
  python oracle/graph_matrix.py [NAME...]           adds lines to a file of results; all that are not there yet without a name
  python oracle/graph_matrix.py --script [NAME...]  the same of TorchScript, traced and some scripted, in a file of its own beside it
  python oracle/graph_matrix.py --table             writes the tables in docs/models.md, those that there are results of

Needs torch, torchvision, timm, transformers, onnx. A model passes where ONNX's checker accepts what it was lowered to and an
engine's answers to two batches of different sizes are PyTorch's within 1e-4 of a number and of its tensor's root mean square.
ONNX Runtime is used where `hearth doctor` finds it. Results of several PyTorch versions become columns of one table.
"""

import argparse
import inspect
import json
import re
import subprocess
import tempfile
import time
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from torch import nn

from graph_golden import DYNAMIC, SEED, Cnn, Gru, Lstm, Mlp, export, flat, randn, tensor

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "target/release/examples/golden"
PAGE = ROOT / "docs/models.md"
# What begins and ends the tables of exported programs and of TorchScript.
MATRIX = "<!-- matrix: written by oracle/graph_matrix.py -->", "<!-- end of the matrix -->"
SCRIPTS = "<!-- TorchScript: written by oracle/graph_matrix.py -->", "<!-- end of TorchScript -->"
TOLERANCE = 1e-4
EXPORTED = "exported"
FORMS = [EXPORTED, "traced", "scripted"]
MAKERS = {EXPORTED: "torch.export", "traced": "torch.jit.trace", "scripted": "torch.jit.script"}
ENGINES = {"onnxruntime": "ONNX Runtime", "tract": "tract"}

BATCH = ({0: DYNAMIC},)
CLASSIFIERS = {  # of torchvision, with the side of their images
    "alexnet": 64, "convnext_tiny": 64, "densenet121": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64,
    "googlenet": 64, "inception_v3": 96, "mnasnet0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64, "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64, "swin_t": 64, "swin_v2_t": 64, "vgg11_bn": 64, "vit_b_32": 224,
}
SEGMENTERS = ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50", "lraspp_mobilenet_v3_large"]
# Those whose code torch.jit.script takes as well.
SCRIPTED = ["MLP", "CNN", "LSTM", "GRU", *CLASSIFIERS, *SEGMENTERS]
LARGE = ["vgg11_bn", "vit_b_32", "alexnet"]  # last, since they take the longest
TIMM = {
    "convmixer_768_32": 64, "convnextv2_atto": 64, "cspresnet50": 64, "darknet53": 64, "deit_tiny_patch16_224": 224,
    "dla34": 64, "dpn68": 64, "edgenext_xx_small": 64, "eva02_tiny_patch14_224": 224, "ghostnet_050": 64,
    "hrnet_w18_small": 64, "levit_128s": 224, "mixer_s32_224": 224, "mobilenetv4_conv_small": 64, "mobilevit_xxs": 64,
    "nfnet_l0": 64, "poolformer_s12": 64, "pvt_v2_b0": 64, "regnety_002": 64, "repvgg_a0": 64, "resnest14d": 64,
    "resnetv2_50": 64, "rexnet_100": 64, "seresnet18": 64, "tf_efficientnet_b0": 64, "vit_tiny_patch16_224": 224,
    "xcit_nano_12_p16_224": 224,
}


def images(side, count=2):
    return (torch.randn(count, 3, side, side),)


def both(make):
    return [make(2), make(1)]


def plain_models():
    yield "torch", "MLP", Mlp, lambda: [(randn(3, 6),), (randn(1, 6),)], BATCH
    yield "torch", "CNN", Cnn, lambda: both(lambda b: (randn(b, 3, 18, 18),)), BATCH
    yield "torch", "LSTM", Lstm, lambda: [(randn(2, 6, 4),), (randn(3, 6, 4),)], BATCH
    yield "torch", "GRU", Gru, lambda: both(lambda b: (randn(5, b, 4), randn(1, b, 5))), ({1: DYNAMIC}, {1: DYNAMIC})


class Features(nn.Module):
    """The feature maps of a detector's backbone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return list(self.backbone(x).values())


def torchvision_models():
    import torchvision.models as tv
    from torchvision.models.detection import backbone_utils

    for name, side in CLASSIFIERS.items():
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        yield "torchvision", name, lambda n=name, o=options: getattr(tv, n)(weights=None, **o), lambda s=side: both(lambda b: images(s, b)), BATCH
    for name in SEGMENTERS:
        yield "torchvision", name, lambda n=name: getattr(tv.segmentation, n)(weights=None, weights_backbone=None), lambda: both(
            lambda b: images(64, b)), BATCH
    fpn = lambda: backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None)
    yield "torchvision", "resnet18 with FPN (detection)", lambda: Features(fpn()), lambda: both(lambda b: images(64, b)), BATCH
    mobile = lambda: backbone_utils.mobilenet_backbone(backbone_name="mobilenet_v3_large", weights=None, fpn=True)
    yield "torchvision", "mobilenet_v3_large with FPN (detection)", lambda: Features(mobile()), lambda: both(lambda b: images(64, b)), BATCH


def timm_models():
    import timm

    for name, side in TIMM.items():
        yield "timm", name, lambda n=name: timm.create_model(n, pretrained=False), lambda s=side: both(lambda b: images(s, b)), BATCH


def transformers_models():
    import transformers as t

    small = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)

    def text(b, s):
        mask = torch.ones(b, s, dtype=torch.long)
        mask[0, s - 2 :] = 0
        return torch.randint(2, 90, (b, s)), mask

    texts = lambda: [text(2, 9), text(1, 5)]
    sequence = {0: DYNAMIC, 1: DYNAMIC}
    text_models = {
        "AlbertForSequenceClassification": lambda: t.AlbertConfig(vocab_size=99, embedding_size=16, **small),
        "BertForMaskedLM": lambda: t.BertConfig(vocab_size=99, **small),
        "BertForQuestionAnswering": lambda: t.BertConfig(vocab_size=99, **small),
        "BertForSequenceClassification": lambda: t.BertConfig(vocab_size=99, **small),
        "DistilBertForSequenceClassification": lambda: t.DistilBertConfig(vocab_size=99, dim=32, hidden_dim=64, n_layers=2, n_heads=4),
        "ElectraForSequenceClassification": lambda: t.ElectraConfig(vocab_size=99, embedding_size=16, **small),
        "MPNetForSequenceClassification": lambda: t.MPNetConfig(vocab_size=99, **small),
        "RobertaForTokenClassification": lambda: t.RobertaConfig(vocab_size=99, **small),
        "T5EncoderModel": lambda: t.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    }
    for name, config in text_models.items():
        yield "transformers", name, lambda n=name, c=config: getattr(t, n)(c()), texts, (sequence, sequence)
    image_models = {
        "ConvNextForImageClassification": lambda: t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
        "DeiTForImageClassification": lambda: t.DeiTConfig(image_size=32, patch_size=8, **small),
        "Dinov2ForImageClassification": lambda: t.Dinov2Config(image_size=32, patch_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
        "RegNetForImageClassification": lambda: t.RegNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], groups_width=8),
        "ResNetForImageClassification": lambda: t.ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], layer_type="bottleneck"),
        "SegformerForSemanticSegmentation": lambda: t.SegformerConfig(hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 4, 8], decoder_hidden_size=16),
        "SwinForImageClassification": lambda: t.SwinConfig(image_size=32, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=4),
        "ViTForImageClassification": lambda: t.ViTConfig(image_size=32, patch_size=8, **small),
    }
    for name, config in image_models.items():
        side = 64 if name.startswith("Segformer") else 32
        yield "transformers", name, lambda n=name, c=config: getattr(t, n)(c()), lambda s=side: both(lambda b: images(s, b)), BATCH
    part = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    clip = lambda: t.CLIPConfig(text_config=dict(vocab_size=99, eos_token_id=98, **part),
                                vision_config=dict(image_size=32, patch_size=8, **part), projection_dim=16)

    def pair(b, s):
        ids, mask = text(b, s)
        return ids, images(32, 3)[0], mask

    yield "transformers", "CLIPModel", lambda: t.CLIPModel(clip()), lambda: [pair(2, 9), pair(4, 5)], (sequence, BATCH[0], sequence)
    wav = lambda: t.Wav2Vec2Config(vocab_size=32, conv_dim=[16, 16], conv_stride=[5, 2], conv_kernel=[10, 3], num_feat_extract_layers=2,
                                   num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, **small)
    yield "transformers", "Wav2Vec2ForCTC", lambda: t.Wav2Vec2ForCTC(wav()), lambda: both(lambda b: (torch.randn(b, 800),)), BATCH


def first_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]


class Tensors(nn.Module):
    """Of a model's results the tensors, since a tracer takes no other."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *args):
        return flat(self.model(*args))


def lower(arguments):
    return subprocess.run([GOLDEN, *arguments], capture_output=True, text=True, timeout=300)


def declared(model, args):
    """What the inputs are, in the words of `hearth convert --input`: as they come, in batches of any size."""
    for name, t in zip(inspect.signature(model.forward).parameters, args):
        yield f"{name}={str(t.dtype).removeprefix('torch.')}[{','.join(['batch', *map(str, t.shape[1:])])}]"


def check(name, make, cases, dynamic, folder, form):
    """What became of a model in one of the forms: its parameters, and for each engine the largest difference or what is wrong."""
    torch.manual_seed(SEED)
    model, cases = make().eval(), cases()
    for module in model.modules():
        # As they are made, a model of many layers gives numbers that are all alike.
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)) and module.running_mean is not None:
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    for parameter in model.parameters():
        # A last layer of zeros would hide all that comes before it.
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    row = {"parameters": sum(p.numel() for p in model.parameters())}
    program, golden, out = folder / ("m.pt2" if form == EXPORTED else "m.pt"), folder / "m.json", folder / "m.onnx"
    try:
        if form == EXPORTED:
            torch.export.save(export(model, cases[0], dynamic), str(program))
        else:
            with torch.no_grad():
                traced = Tensors(model) if name == "CLIPModel" else model
                module = torch.jit.script(model) if form == "scripted" else torch.jit.trace(
                    traced, cases[0], strict=False, check_trace=False)
            torch.jit.save(module, str(program))
    except Exception as e:
        return row | {MAKERS[form]: first_line(e)}
    with torch.no_grad():
        golden.write_text(json.dumps({"cases": [
            {"inputs": [tensor(t) for t in args], "outputs": [tensor(t) for t in flat(model(*args))]} for args in cases]}))
    out.unlink(missing_ok=True)
    ran = lower([program, golden, out])
    if ran.returncode != 0 and form == "scripted":
        # The file does not say what its inputs are, and not all of it can be worked out.
        ran, row["declared"] = lower([program, golden, out, *declared(model, cases[0])]), True
    if ran.returncode != 0:
        return row | {"lowering": (ran.stderr.strip().splitlines() or ["it crashed"])[-1]}
    try:
        onnx.checker.check_model(str(out), full_check=True)
    except Exception as e:
        return row | {"onnx.checker": first_line(e)}
    for line in map(json.loads, ran.stdout.splitlines()):
        row[line["engine"]] = line.get("off", line.get("error"))
    return row


def read(path):
    rows = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {(row["torch"], row.get("form", EXPORTED), row["from"], row["name"]): row for row in rows}


def run(options, folder):
    path = options.results.with_suffix(".script.jsonl") if options.script else options.results
    done = read(path)
    models = [model for source in (plain_models, transformers_models, torchvision_models, timm_models) for model in source()]
    for origin, name, make, cases, dynamic in sorted(models, key=lambda model: model[1] in LARGE):
        for form in FORMS[1:] if options.script else FORMS[:1]:
            key = (torch.__version__, form, origin, name)
            if name not in options.names if options.names else key in done:
                continue
            if form == "scripted" and name not in SCRIPTED:
                continue
            start = time.time()
            try:
                result = check(name, make, cases, dynamic, folder, form)
            except Exception as e:
                traceback.print_exc()
                result = {"made": first_line(e)}
            row = {"torch": torch.__version__, "form": form, "from": origin, "name": name} | result
            with path.open("a") as f:
                f.write(json.dumps(row) + "\n")
            print(f"{time.time() - start:5.1f} s  {name}, {form}: {result}", flush=True)


def is_made(row):
    return not any(key in row for key in ("made", *MAKERS.values()))


def passes(row, engine):
    return isinstance(row.get(engine), float) and row[engine] <= TOLERANCE


def cell(row, engine):
    if row is None:
        return ""
    if not is_made(row):
        return "–"
    return f"{row[engine]:.0e}" if passes(row, engine) else "**no**"


def why(row):
    said = {k: v for k, v in row.items() if k not in ("torch", "form", "from", "name", "parameters", "declared")}
    wrong = {k: v if isinstance(v, str) else f"off by {v:.1e}" for k, v in said.items() if isinstance(v, str) or v > TOLERANCE}
    text = "; ".join(f"{k}: {v}" for k, v in wrong.items())
    return re.sub(rf"{tempfile.gettempdir()}/\w+/", "", text.replace("|", "\\|").replace("\n", " "))[:250]


def tally(rows):
    """How many of the rows there are a program of, and how many of those pass."""
    made = [row for row in rows if is_made(row)]
    passing = " and ".join(f"{sum(passes(row, e) for row in made)} pass on {name}" for e, name in ENGINES.items())
    return f"{len(made)} of {len(rows)}, of which {passing}"


def table(results):
    short = lambda v: v.split("+")[0]
    number = lambda v: [-int(n) for n in short(v).split(".")]
    columns = sorted({key[:2] for key in results}, key=lambda c: (FORMS.index(c[1]), number(c[0])))
    models = sorted({key[2:] for key in results}, key=lambda m: (m[0], m[1].lower()))
    named = lambda v, form: short(v) if form == EXPORTED else form
    heads = [f"{named(*column)}: {e}" for column in columns for e in ENGINES.values()]
    lines = [f"| from | model | parameters | {' | '.join(heads)} |", "|---" * (3 + len(heads)) + "|"]
    notes = []
    for origin, name in models:
        rows = [results.get((*column, origin, name)) for column in columns]
        parameters = max(row.get("parameters", 0) for row in rows if row) / 1e6
        lines.append(f"| {origin} | {name} | {parameters:.2f} M | {' | '.join(cell(row, e) for row in rows for e in ENGINES)} |")
        notes += [f"- {name}, {named(*column)}: {why(row)}" for column, row in zip(columns, rows) if row and why(row)]
    said = []
    for v, form in columns:
        rows = [row for key, row in results.items() if key[:2] == (v, form)]
        told = sum("declared" in row for row in rows)
        verb = "exports" if form == EXPORTED else "traces" if form == "traced" else "compiles"
        said.append(f"PyTorch {short(v)} {verb} {tally(rows)}" + (f", {told} with declared inputs" if told else ""))
    versions_of = ", ".join(f"{p} {version(p)}" for p in ("torchvision", "timm", "transformers", "onnx"))
    head = f"{len(models)} models. {'; '.join(said)} ({versions_of} beside the newest PyTorch)."
    return "\n".join(["", "", head, "", *lines, "", *notes, *([""] if notes else []), ""])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--script", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--results", type=Path, default=Path(tempfile.gettempdir()) / "graph_matrix.jsonl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.table:
        for (begin, end), path in (MATRIX, options.results), (SCRIPTS, options.results.with_suffix(".script.jsonl")):
            if path.exists():
                head, rest = PAGE.read_text().split(begin)
                PAGE.write_text(head + begin + table(read(path)) + end + rest.split(end)[1])
        return
    if options.script:
        warnings.simplefilter("ignore")  # of a tracer about conditions that it takes for constants, and of its age
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
