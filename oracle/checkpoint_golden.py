"""Small checkpoints of the architectures that are known by name, and what transformers and timm answer with them.

  python oracle/checkpoint_golden.py [NAME...]    writes crates/graph/tests/checkpoints/NAME; all without a name

Needs torch, transformers, timm; versions and seed are in the JSON files. Weights are random: what is tested is that the same
numbers come out. A case has the inputs in the network's order; those left out at its end are left out of the call.
"""

import argparse
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import torch
import transformers as t
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from graph_golden import flat, randn, tensor

OUT = Path(__file__).parent.parent / "crates/graph/tests/checkpoints"
SEED = 20261129


def disturb(model):
    """Weights as they are made would hide mistakes: norms that do nothing, biases of zero."""
    for p in model.parameters():
        if p.dim() == 1:
            nn.init.normal_(p, 0.2, 0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, 0, min(0.2, module.weight.shape[1] ** -0.5))
    return model.eval()


def of_transformers(name, config, **save):
    model = disturb(getattr(t, name)(config))

    def write(folder):
        model.save_pretrained(folder, **save)

    return model, write


def as_published(model, folder):
    """What bert-base-uncased holds: parameters of norms under their old names, the other task's weights, in a pickle."""
    weights = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in model.state_dict().items()}
    weights |= {"cls.seq_relationship.weight": torch.zeros(2, 16), "cls.seq_relationship.bias": torch.zeros(2),
                "bert.pooler.dense.weight": torch.zeros(16, 16), "bert.pooler.dense.bias": torch.zeros(16)}
    model.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}, indent=1))
    torch.save(weights, folder / "pytorch_model.bin")


def sharded(model, folder):
    """Two files by torch.save with an index, as transformers wrote them before version 5."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    names = list(model.state_dict())
    files = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, part in files.items():
        torch.save({name: model.state_dict()[name] for name in part}, folder / file)
    index = {"metadata": {}, "weight_map": {name: file for file, part in files.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1))


def of_timm(name, block, side):
    model = disturb(ResNet(block, [1, 2, 1, 1], channels=(2, 3, 3, 4), num_classes=5))

    def write(folder):
        config = {"architecture": name, "num_classes": 5, "global_pool": "avg", "pretrained_cfg": {"input_size": [3, side, side]}}
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        torch.save({"epoch": 1, "state_dict": model.state_dict()}, folder / "pytorch_model.bin")

    return model, write


def text(b, s, types=False):
    ids = torch.randint(2, 40, (b, s))
    mask = torch.ones(b, s, dtype=torch.long)
    ids[0, s - 2 :], mask[0, s - 2 :] = 1, 0
    kinds = torch.randint(0, 2, (b, s))
    return {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": kinds} if types else {})


def texts(types=False):
    ids = {"input_ids": torch.randint(2, 40, (2, 5))}
    return lambda: [text(3, 6, types), text(1, 9, types), ids]


def images(*sizes):
    return lambda: [{"pixel_values": randn(b, 3, h, w)} for b, h, w in sizes]


def models():
    labels = lambda n: dict(id2label={i: f"label {i}" for i in range(n)})
    small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
    bert = lambda **more: t.BertConfig(vocab_size=40, max_position_embeddings=16, **small, **more)
    roberta = lambda **more: t.RobertaConfig(vocab_size=40, max_position_embeddings=16, pad_token_id=1, type_vocab_size=1, **small, **more)
    distil = lambda **more: t.DistilBertConfig(vocab_size=40, max_position_embeddings=16, dim=16, hidden_dim=24, n_layers=2, n_heads=4, **more)
    resnet = dict(embedding_size=4, hidden_sizes=[8, 12], depths=[2, 1])

    basic = t.ResNetConfig(layer_type="basic", **resnet, **labels(3))
    yield "resnet-basic", lambda: of_transformers("ResNetForImageClassification", basic), images((2, 16, 16), (1, 20, 12))
    first = t.ResNetConfig(downsample_in_first_stage=True, downsample_in_bottleneck=True, hidden_act="silu", **resnet)

    def bottleneck():
        model, _ = of_transformers("ResNetForImageClassification", first)
        return model, lambda folder: sharded(model, folder)

    yield "resnet-bottleneck", bottleneck, images((2, 16, 16), (1, 20, 12))
    yield "timm-resnet18", lambda: of_timm("resnet18", BasicBlock, 16), images((2, 16, 16), (1, 16, 16))
    yield "timm-resnet50", lambda: of_timm("resnet50", Bottleneck, 16), images((2, 16, 16), (1, 16, 16))
    vit = dict(image_size=[16, 8], patch_size=4, **small)
    yield "vit", lambda: of_transformers("ViTForImageClassification", t.ViTConfig(qkv_bias=False, **vit, **labels(5))), images((2, 16, 8), (1, 16, 8))
    yield "deit", lambda: of_transformers("DeiTForImageClassificationWithTeacher", t.DeiTConfig(hidden_act="gelu_new", **vit)), images((2, 16, 8), (1, 16, 8))
    convnext = t.ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 2], num_stages=2, layer_scale_init_value=0.5, **labels(4))
    yield "convnext", lambda: of_transformers("ConvNextForImageClassification", convnext), images((2, 16, 16), (1, 8, 16))

    yield "bert-classifier", lambda: of_transformers("BertForSequenceClassification", bert(hidden_act="relu", **labels(3))), texts(types=True)
    yield "bert-tokens", lambda: of_transformers("BertForTokenClassification", bert(layer_norm_eps=1e-2, **labels(4))), texts(types=True)
    yield "bert-answers", lambda: of_transformers("BertForQuestionAnswering", bert()), texts(types=True)

    def published():
        model, _ = of_transformers("BertForMaskedLM", bert())
        return model, lambda folder: as_published(model, folder)

    yield "bert-masked", published, texts(types=True)
    yield "bert-pretraining", lambda: of_transformers("BertForPreTraining", bert()), texts(types=True)
    yield "bert-model", lambda: of_transformers("BertModel", bert()), texts(types=True)

    def half():
        model, _ = of_transformers("DistilBertForSequenceClassification", distil())
        model.half()
        return model.float(), lambda folder: (model.half().save_pretrained(folder), model.float())

    yield "distilbert-classifier", half, texts()
    yield "distilbert-masked", lambda: of_transformers("DistilBertForMaskedLM", distil(activation="gelu_pytorch_tanh")), texts()
    yield "roberta-classifier", lambda: of_transformers("RobertaForSequenceClassification", roberta(**labels(3))), texts()
    yield "roberta-masked", lambda: of_transformers("RobertaForMaskedLM", roberta()), texts()


def answers(model, case):
    """The tensors that a model gives, by the order in which it names them."""
    with torch.no_grad():
        return flat(model(case["pixel_values"]) if isinstance(model, ResNet) else list(model(**case).values()))


def golden(model, cases):
    rows = [{"inputs": [tensor(x) for x in case.values()], "outputs": [tensor(x) for x in answers(model, case)]} for case in cases]
    versions = {p: version(p) for p in ("torch", "transformers", "timm")}
    return json.dumps(versions | {"seed": SEED, "cases": rows}, separators=(",", ":")) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, make, cases in models():
        if options.names and name not in options.names:
            continue
        torch.manual_seed(SEED)
        model, write = make()
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder)
        (folder / "golden.json").write_text(golden(model, cases()))
        print(name, sum(f.stat().st_size for f in folder.iterdir()), flush=True)


if __name__ == "__main__":
    main()
