"""An endless, reproducible stream of micro-batches: chunk n is always the same, so a run can resume at (chunk, offset)."""

import random

import torch
from tokenizers import Tokenizer

from emberdata import mix
from render import SPECIALS, pieces

CHUNK_SAMPLES = 6000


class Encoder:
    """Samples to (ids, trained) lists."""

    def __init__(self, tokenizer_json: str, context: int):
        self.tokenizer = Tokenizer.from_file(tokenizer_json)
        self.special = {s: self.tokenizer.token_to_id(s) for s in SPECIALS}
        self.context = context

    def encode(self, samples: list, rng: random.Random) -> list:
        """Each sample as (ids, trained flags), cut to the context."""
        rendered = [pieces(s, rng) for s in samples]
        distinct = list({text for sample in rendered for text, _ in sample if text not in self.special})
        table = dict(zip(distinct, (e.ids for e in self.tokenizer.encode_batch(distinct, add_special_tokens=False))))
        out = []
        for sample in rendered:
            ids, flags = [], []
            for text, trained in sample:
                new = [self.special[text]] if text in self.special else table[text]
                ids += new
                flags += [trained] * len(new)
            out.append((ids[: self.context + 1], flags[: self.context + 1]))
        return out


def chunk(encoder: Encoder, seed: int, number: int, micro_tokens: int) -> list:
    """The micro-batches of one chunk, shuffled: (ids (B, L+1), trained (B, L) for the targets).

    Samples of like length share a batch, so that little is padded and every sample starts at position 0, as in use.
    """
    rng = random.Random(seed * 1_000_003 + number)
    rows = encoder.encode([mix.training(rng, later=number >= mix.LATER_FROM_CHUNK) for _ in range(CHUNK_SAMPLES)], rng)
    rng.shuffle(rows)
    rows.sort(key=lambda r: (len(r[0]) + 3) // 4)
    out, start = [], 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and len(rows[end][0]) * (end - start + 1) <= micro_tokens:
            end += 1
        part = rows[start:end]
        length = max(len(ids) for ids, _ in part)
        ids = torch.zeros(len(part), length, dtype=torch.long)
        trained = torch.zeros(len(part), length, dtype=torch.bool)
        for i, (row, flags) in enumerate(part):
            ids[i, : len(row)] = torch.tensor(row)
            trained[i, : len(row)] = torch.tensor(flags)
        out.append((ids, trained[:, 1:]))
        start = end
    rng.shuffle(out)
    return out


class Stream:
    """Micro-batches chunk after chunk; `state` and `restore` mark the place."""

    def __init__(self, encoder: Encoder, seed: int, micro_tokens: int):
        self.encoder, self.seed, self.micro_tokens = encoder, seed, micro_tokens
        self.number, self.offset, self.batches = 0, 0, None

    def state(self) -> tuple:
        return self.number, self.offset

    def restore(self, state: tuple):
        self.number, self.offset = state
        self.batches = None

    def next(self) -> tuple:
        if self.batches is None:
            self.batches = chunk(self.encoder, self.seed, self.number, self.micro_tokens)
        if self.offset == len(self.batches):
            self.number, self.offset = self.number + 1, 0
            self.batches = chunk(self.encoder, self.seed, self.number, self.micro_tokens)
        self.offset += 1
        return self.batches[self.offset - 1]
