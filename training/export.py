"""Write ember as a Hugging Face folder and check that transformers computes the same logits from it."""

import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import Config, Ember
from render import END_OF_TEXT, IM_END, SPECIALS


def write(model: Ember, tokenizer: Path, out: Path):
    """The folder appears under its name only when it is whole."""
    c = model.config
    ids = {s: i for i, s in enumerate(SPECIALS)}
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    weights = {k: v.detach().cpu().contiguous().clone() for k, v in model.state_dict().items()}
    save_file(weights, str(part / "model.safetensors"), metadata={"format": "pt"})
    config = c.to_dict() | {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False,
        "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.02, "torch_dtype": "float32", "use_cache": True, "rope_scaling": None,
        "bos_token_id": None, "eos_token_id": ids[IM_END], "pad_token_id": ids[END_OF_TEXT],
    }
    (part / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"eos_token_id": [ids[IM_END], ids[END_OF_TEXT]], "pad_token_id": ids[END_OF_TEXT], "do_sample": True, "temperature": 0.3, "top_p": 0.9}
    (part / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, part / name)
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.rename(out, old)
    os.rename(part, out)
    shutil.rmtree(old, ignore_errors=True)


def check(folder: Path):
    """transformers must load the folder, give our logits, and render chats as the training did."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from emberdata import dialogue
    from render import pieces
    import random

    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ours = load(folder)
    ids = torch.tensor([tokenizer.encode("<|im_start|>user\nHello, what is the capital of France?<|im_end|>\n<|im_start|>assistant\n")])
    with torch.no_grad():
        gap = (theirs(ids).logits - ours(ids)).abs().max().item()
    assert gap < 1e-3, f"logits differ by {gap}"
    rng = random.Random(5)
    for maker in (dialogue.memory, dialogue.system, dialogue.chain, dialogue.tools) * 5:
        s = maker(rng)
        text = tokenizer.apply_chat_template(s.messages, tools=s.tools, tokenize=False)
        mine = "".join(t for t, _ in pieces(s)) + "\n"
        assert text == mine, f"the template and the training differ:\n{text!r}\n{mine!r}"
        # Text that is encoded whole must give the tokens that the training encoded piece by piece.
        whole = tokenizer.encode(mine, add_special_tokens=False)
        parts = [i for t, _ in pieces(s) for i in tokenizer.encode(t, add_special_tokens=False)] + tokenizer.encode("\n", add_special_tokens=False)
        assert whole == parts, f"tokens differ for {mine!r}"
    print(f"{folder}: transformers agrees (largest logit difference {gap:.1e})")


def load(folder: Path) -> Ember:
    from safetensors.torch import load_file

    raw = json.loads((folder / "config.json").read_text())
    model = Ember(Config(**{k: raw[k] for k in Config.__dataclass_fields__}))
    model.load_state_dict(load_file(str(folder / "model.safetensors")))
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tokenizer", type=Path, help="folder of tokenizer.json")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    saved = torch.load(args.checkpoint, map_location="cpu", weights_only=False)
    model = Ember(Config(**saved["config"]))
    model.load_state_dict(saved["model"])
    write(model, args.tokenizer, args.out)
    check(args.out)


if __name__ == "__main__":
    main()
