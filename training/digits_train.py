"""Trains `digits`, the built-in network that reads handwritten digits of 8x8 pixels.

  python digits_train.py FOLDER [--epochs N]    writes FOLDER/digits.pt2, tells its scores

The images are the 1,797 that scikit-learn carries (`load_digits`), the test part of "Optical Recognition of Handwritten
Digits" in the UCI repository (E. Alpaydin and C. Kaynak, 1998; CC BY 4.0). A pixel is a number from 0
(paper) to 16 (ink). A fifth of each digit's images is held out; the rest is shifted by up to a pixel while training.
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


class Digits(nn.Module):
    """Two convolutions and an MLP."""

    def __init__(self):
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.tell = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, pixels):
        """(B, 8, 8) pixels from 0 to 16 to (B, 10) probabilities, of 0 first."""
        return torch.softmax(self.logits(pixels), -1)

    def logits(self, pixels):
        """The same before the softmax."""
        return self.tell(self.see(pixels.unsqueeze(1) / 16))


def shifted(pixels, generator):
    """Each image moved by up to a pixel, paper coming in."""
    padded = nn.functional.pad(pixels, (1, 1, 1, 1))
    by = torch.randint(0, 3, (len(pixels), 2), generator=generator)
    return torch.stack([image[y:y + 8, x:x + 8] for image, (y, x) in zip(padded, by.tolist())])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(options.seed)
    images, digits = load_digits().images, load_digits().target
    images, held_images, digits, held_digits = train_test_split(
        torch.tensor(images, dtype=torch.float), torch.tensor(digits), test_size=0.2, stratify=digits,
        random_state=options.seed)
    network = Digits()
    batches = -(-len(images) // 64)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=options.epochs * batches)
    for _ in range(options.epochs):
        for batch in torch.randperm(len(images), generator=generator).split(64):
            loss = nn.functional.cross_entropy(network.logits(shifted(images[batch], generator)), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        scores = network(held_images)
    right = (scores.argmax(-1) == held_digits).sum().item()
    print(f"held out: {right} of {len(held_digits)} right, {right / len(held_digits):.2%}; "
          f"cross-entropy {nn.functional.nll_loss(scores.log(), held_digits):.4f}")
    program = torch.export.export(network, (held_images[:3],), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    for node in program.graph.nodes:
        # Where in which file of this machine it comes from.
        node.meta.pop("stack_trace", None)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "digits.pt2"
    torch.export.save(program, path)
    print(f"{sum(p.numel() for p in network.parameters())} parameters, {path.stat().st_size} bytes")
    for image, digit, score in list(zip(held_images, held_digits, scores))[:2]:
        print(digit.item(), image.int().tolist(), [round(x, 4) for x in score.tolist()])


if __name__ == "__main__":
    main()
