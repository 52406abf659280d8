"""Networks with what lies beside them, and what transformers makes of images and texts by them, for crates/cli/tests.

    python oracle/predict_golden.py

Needs torch 2.15 and transformers 5.24. Writes images of two digits, and two folders: `classifier`, a small convolutional network with
`preprocessor_config.json` and labels, which looks at the images of crates/vision/tests/fixtures, and `sentences`, a small BERT with
the tokenizer of crates/llm/tests/fixtures/tokenizer/bert, which classifies texts and pairs and gives its hidden states too. Their
weights are random.
"""

import json
import os
import shutil

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

HERE = os.path.dirname(os.path.abspath(__file__))
CRATES = os.path.join(HERE, "..", "crates")
OUT = os.path.join(CRATES, "cli", "tests", "fixtures", "networks")
IMAGES = os.path.join(CRATES, "vision", "tests", "fixtures")
TOKENIZER = os.path.join(CRATES, "llm", "tests", "fixtures", "tokenizer", "bert")


class Classifier(nn.Module):
    """(B, 3, 14, 14) to the logits (B, 7)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.head = nn.Linear(6, 7)

    def forward(self, pixel_values):
        return self.head(torch.relu(self.conv(pixel_values)).mean((2, 3))) * 20


class Sentences(nn.Module):
    """Tokens (B, L) to the logits (B, 3) and the hidden states (B, L, 16)."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        out = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, output_hidden_states=True
        )
        return out.logits, out.hidden_states[-1]


def export(network, inputs, dynamic, folder):
    network.eval()
    with torch.no_grad():
        program = torch.export.export(network, inputs, dynamic_shapes=dynamic, strict=False)
    for node in program.graph.nodes:
        # Where in which file of this machine it comes from, and the like.
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(key, None)
    os.makedirs(folder, exist_ok=True)
    torch.export.save(program, os.path.join(folder, "model.pt2"))


def write(folder, name, value):
    with open(os.path.join(folder, name), "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


def classifier():
    folder = os.path.join(OUT, "classifier")
    torch.manual_seed(1)
    network = Classifier()
    batch = torch.export.Dim("batch", max=64)
    export(network, (torch.randn(2, 3, 14, 14),), ({0: batch},), folder)
    processor = ConvNextImageProcessorPil(
        size={"shortest_edge": 14}, crop_pct=0.875, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    processor.save_pretrained(folder)
    names = ["cat", "dog", "bird", "fish", "horse", "bee", "fox"]
    write(folder, "config.json", {"id2label": {str(i): name for i, name in enumerate(names)}})
    answers = {}
    for name in ["rgb.png", "gray.png", "photo.jpg", "progressive.jpg", "lossy.webp"]:
        image = Image.open(os.path.join(IMAGES, name))
        if name == "progressive.jpg":
            image = image.transpose(Image.Transpose.ROTATE_270)  # as its Exif data says
        pixels = processor(image.convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            scores = network(pixels)[0].softmax(-1)
        answers[name] = dict(zip(names, scores.tolist()))
    write(folder, "golden.json", answers)


def sentences():
    folder = os.path.join(OUT, "sentences")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(TOKENIZER, "tokenizer.json"), pad_token="[PAD]")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        num_labels=3,
        id2label={0: "calm", 1: "glad", 2: "cross"},
        problem_type="multi_label_classification",
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
    )
    torch.manual_seed(2)
    bert = BertForSequenceClassification(config).eval()
    network = Sentences(bert)
    batch, length = torch.export.Dim("batch", max=64), torch.export.Dim("length", max=32)
    ids = torch.randint(5, len(tokenizer), (2, 9))
    ones = torch.ones_like(ids)
    dynamic = tuple({0: batch, 1: length} for _ in range(3))
    export(network, (ids, ones, ones * 0), dynamic, folder)
    config.save_pretrained(folder)
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(os.path.join(TOKENIZER, name), folder)
    answers = []
    for first, second in [
        ("The harbour was quiet.", None),
        ("a", None),
        ("", None),
        ("Boats and captains and boats", None),
        ("The boats count the tide.", "Who counts?"),
        ("I", "We counted the boats before the tide turned again"),
    ]:
        tokens = tokenizer(first, second, return_tensors="pt", return_token_type_ids=True)
        with torch.no_grad():
            logits, states = network(tokens["input_ids"], tokens["attention_mask"], tokens["token_type_ids"])
        answers.append(
            {
                "text": first,
                "text_pair": second,
                "input_ids": tokens["input_ids"][0].tolist(),
                "token_type_ids": tokens["token_type_ids"][0].tolist(),
                "scores": dict(zip(config.id2label.values(), logits[0].sigmoid().tolist())),
                "first_states": states[0, :, 0].tolist(),
            }
        )
    long = "the boats " * 40
    cut = tokenizer(long, truncation=True, max_length=32)["input_ids"]
    write(folder, "golden.json", {"texts": answers, "long": long, "long_tokens": len(tokenizer(long)["input_ids"]), "cut": cut})


# Two of the images that training/digits_train.py holds out.
TWO = """0 0 9 16 13 1 0 0 0 8 16 8 11 8 0 0 0 11 10 0 8 10 0 0 0 1 5 0 11 11 0 0
         0 0 0 0 13 9 0 0 0 0 0 4 16 2 0 0 0 0 4 14 15 7 4 1 0 0 8 16 16 16 16 12"""
SIX = """0 0 0 12 14 1 0 0 0 0 5 16 12 0 0 0 0 0 10 15 1 0 0 0 0 0 14 15 9 2 0 0
         0 1 16 15 16 15 2 0 0 0 15 7 1 12 10 0 0 0 10 14 4 15 12 0 0 0 0 11 16 15 5 0"""


def digits():
    """Ink on paper, large; and light on dark, small."""
    folder = os.path.join(OUT, "digits")
    os.makedirs(folder, exist_ok=True)
    pixels = lambda text: np.array(text.split(), dtype=np.float64).reshape(8, 8) / 16 * 255
    two = Image.fromarray((255 - pixels(TWO)).astype(np.uint8)).resize((96, 96), Image.Resampling.NEAREST)
    two.convert("RGB").save(os.path.join(folder, "two.png"))
    Image.fromarray(pixels(SIX).astype(np.uint8)).save(os.path.join(folder, "six.png"))


def main():
    digits()
    np.random.seed(1)
    classifier()
    sentences()


if __name__ == "__main__":
    main()
