"""Score ember-embed on held-out pairs: triplets (is the paraphrase nearer than the other sentence?) and rank correlation with the teacher."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

import embed_data  # noqa: E402
from embed_train import teacher_folder  # noqa: E402


def triplet_accuracy(model, triplets: list) -> float:
    a, b, c = (model.encode([t[i] for t in triplets], normalize_embeddings=True, show_progress_bar=False) for i in range(3))
    return float(np.mean((a * b).sum(1) > (a * c).sum(1)))


def pair_similarities(model, texts: list):
    v = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    return (v @ v.T)[np.triu_indices(len(texts), 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    args = parser.parse_args()
    student, teacher = SentenceTransformer(str(args.folder), device="cpu"), SentenceTransformer(str(teacher_folder()), device="cpu")
    sentences = [s for t in embed_data.TRIPLETS for s in t]
    questions = embed_data.question_triplets(2026, 400)
    rows = [
        (f"triplets, {len(embed_data.TRIPLETS)} written by hand", triplet_accuracy(student, embed_data.TRIPLETS), triplet_accuracy(teacher, embed_data.TRIPLETS), "{:.1%}"),
        (f"triplets, {len(questions)} questions on one topic", triplet_accuracy(student, questions), triplet_accuracy(teacher, questions), "{:.1%}"),
        (f"Spearman against the teacher, all pairs of the {len(sentences)} sentences", float(spearmanr(pair_similarities(student, sentences), pair_similarities(teacher, sentences))[0]), 1.0, "{:.3f}"),
    ]
    pairs = [(t[0], o) for t in embed_data.TRIPLETS for o in t[1:]]

    def of_pairs(model):
        a, b = (model.encode([p[i] for p in pairs], normalize_embeddings=True, show_progress_bar=False) for i in range(2))
        return (a * b).sum(1)

    rows.append(("Spearman against the teacher, paraphrases and unlike sentences", float(spearmanr(of_pairs(student), of_pairs(teacher))[0]), 1.0, "{:.3f}"))
    lines = ["| held-out test | ember-embed | teacher |", "|---|---|---|"] + [f"| {n} | {f.format(a)} | {f.format(b)} |" for n, a, b, f in rows]
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
