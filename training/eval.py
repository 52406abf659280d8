"""Score ember on held-out dialogues, category by category, with automatic checks of greedy answers.

Held out are whole questions (before noise is added): one in thirty by hash, never drawn in training. "First questions" are
written by hand, and some of them are also drawn in training. An answer counts only if the model also stops by itself.
"""

import argparse
import json
import random
import re
import time
from pathlib import Path

import torch

from emberdata import dialogue, mix, skills
from emberdata.first import FIRST
from emberdata.common import Sample, normal, turn
from render import IM_END, IM_START, turns

SAMPLES = [
    "Hello! Who are you?", "What is Hearth?", "What can you do?", "How do I add a model?", "hey, how are you today?", "thx, bye", "Tell me a joke",
    "What is the capital of Portugal?", "What is the opposite of early?", "What is 17 plus 26?", "What is 7 times 8?", "What is 1234 times 5678?",
    "Count from 5 to 12", "Spell basket", "List three instruments", "Repeat after me: nine green lamps", "Give me JSON with name Olga, age 44 and city Porto",
    "Tell me a short story about a fox named Bela", "Explain quantum computing", "Who won the football match yesterday?", "Write a Python function that adds two numbers",
]


def passes(check: tuple, answer: str, stopped: bool) -> bool:
    """Whether an answer passes its check, see Sample.check."""
    kind, value = check
    answer = answer.strip()
    if not stopped or not answer:
        return False
    if kind == "exact":
        return answer == value
    if kind == "contains":
        return value.lower() in answer.lower()
    if kind == "starts":
        return answer.startswith(value)
    if kind == "ends":
        return re.search(r"(?<![0-9-])" + re.escape(value) + "$", answer) is not None if value.isdigit() else answer.endswith(value)
    if kind == "all":
        return all(v.lower() in answer.lower() for v in value)
    if kind == "overlap":  # nearly one of the known answers
        mine = set(normal(answer).split())
        return any(len(mine & set(normal(v).split())) >= 0.7 * len(mine | set(normal(v).split())) for v in value)
    if kind == "any":
        return any(v.lower() in answer.lower() for v in value)
    if kind == "json items":
        kind, answer = "items", "\n".join(map(str, found)) if (found := _list(answer)) else ""
    if kind == "items":
        pool, count = value
        items = [re.sub(r"^([0-9]+\.|-)\s*", "", line).strip().lower() for line in re.split(r"\n|, ", answer)]
        return len(items) == count == len(set(items)) and all(i in {p.lower() for p in skills.POOLS[pool]} for i in items)
    if kind in ("json", "json keys"):
        try:
            found = json.loads(answer)
        except ValueError:
            return False
        return found == json.loads(value) if kind == "json" else isinstance(found, dict) and sorted(found) == sorted(value)
    raise ValueError(kind)


def _list(text: str) -> list | None:
    """A JSON list, if it is one."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


class Chat:
    """Greedy answers by transformers."""

    def __init__(self, folder: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.end = self.tokenizer.convert_tokens_to_ids(IM_END)

    @torch.no_grad()
    def answer(self, messages: list, limit: int = 320) -> tuple:
        """(text, stopped by itself)."""
        prompt = "".join(f"{IM_START}{role}\n{text}{IM_END}\n" for role, text in turns(messages, None)) + f"{IM_START}assistant\n"
        ids = torch.tensor([self.tokenizer.encode(prompt, add_special_tokens=False)])
        limit = min(limit, self.model.config.max_position_embeddings - ids.shape[1])
        out = self.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False, temperature=None, top_p=None)
        new = out[0, ids.shape[1]:].tolist()
        return self.tokenizer.decode(new, skip_special_tokens=True), new[-1] == self.end

    @torch.no_grad()
    def perplexity(self, texts: list) -> float:
        """Per token, over plain documents."""
        loss, count = 0.0, 0
        for text in texts:
            ids = torch.tensor([self.tokenizer.encode(text, add_special_tokens=False)[:1024]])
            n = ids.shape[1] - 1
            loss += float(self.model(ids, labels=ids).loss) * n
            count += n
        return float(torch.tensor(loss / count).exp())


def held_out_dialogues(count: int) -> dict:
    """Category -> held-out samples, at most `count` for each maker; the same in every run."""
    rng = random.Random(2026)
    groups: dict = {}
    for maker, *_shares in mix.MIX:
        if maker not in (dialogue.document, dialogue.drill, skills.code):
            for s in mix.evaluation(rng, maker, count):
                groups.setdefault(s.category, []).append(s)
    groups["first questions"] = [Sample("first questions", turn(question, ""), ("any", words)) for question, words in FIRST]
    return groups


def held_out_documents(count: int = 90) -> list:
    """Plain documents from draws of their own."""
    rng = random.Random(2027)
    return [dialogue.document(rng).text for _ in range(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Hugging Face folder of the model")
    parser.add_argument("--held-out", type=Path, default=Path(__file__).parent / "heldout.txt", help="plain documents, made if missing")
    parser.add_argument("--limit", type=int, default=40, help="dialogues a kind of task")
    parser.add_argument("--out", type=Path, help="also write the table and samples to this Markdown file")
    parser.add_argument("--failures", type=int, default=0, help="print so many wrong answers a category")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.held_out.exists():
        args.held_out.write_text("\n\n---\n\n".join(held_out_documents()) + "\n")

    chat = Chat(args.folder)
    begun, lines, right_all, count_all = time.time(), ["| category | right | of | share |", "|---|---|---|---|"], 0, 0
    for category, samples in sorted(held_out_dialogues(args.limit).items()):
        right, shown = 0, 0
        for sample in samples:
            text, stopped = chat.answer(sample.messages[:-1])
            good = passes(sample.check, text, stopped)
            right += good
            if not good and shown < args.failures:
                shown += 1
                print(f"  [{category}] {sample.messages[-2]['content']!r}\n     -> {text!r}{'' if stopped else ' (did not stop)'}\n     ~  {sample.check}")
        lines.append(f"| {category} | {right} | {len(samples)} | {right / len(samples):.0%} |")
        print(lines[-1], flush=True)
        right_all, count_all = right_all + right, count_all + len(samples)
    lines.append(f"| **all** | {right_all} | {count_all} | {right_all / count_all:.0%} |")
    documents = args.held_out.read_text().split("\n\n---\n\n")
    lines += ["", f"Perplexity on {args.held_out.name} ({len(documents)} plain documents): {chat.perplexity(documents):.2f} per token."]
    print("\n".join(lines[-3:]), f"\n{time.time() - begun:.0f} s")
    lines.append("")
    for prompt in SAMPLES:
        text, _ = chat.answer([{"role": "user", "content": prompt}])
        quoted = text.replace("\n", "\n> ")
        lines += [f"> **user:** {prompt}", ">", f"> **ember:** {quoted}", ""]
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
