"""Golden vectors of tiny random models: transformers' numbers for crates/llm/tests/parity_*.rs.

    python oracle/models_golden.py [NAME...]  # writes crates/llm/tests/fixtures/models/NAME, all without names

Each model is a Hugging Face folder of 16-bit weights (a few of 32) with what transformers computes from them in single
precision on the CPU: the logits at every position of a prompt and 64 greedy tokens, or pooled vectors. Seeds are chosen so
that the best token leads the second by a margin, so that greedy text is a fair comparison. Every text
model is also written as GGUF with the `gguf` package, under the names and layouts of llama.cpp's converter, and
llama.cpp has to compute the same logits from it; one of an architecture is kept.

Needs torch, transformers, safetensors, gguf, llama-cpp-python; golden.json records the versions.
"""

import copy
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import safetensors.torch
import torch
import transformers
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

OUT = Path(__file__).resolve().parent.parent / "crates/llm/tests/fixtures/models"
PROMPT_LEN = 40
GREEDY_LEN = 64
# The least lead of the best token over the second, at every greedy step.
MARGIN = 0.02
VOCAB = 200

SMALL = dict(
    vocab_size=VOCAB,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=160,
    bos_token_id=1,
    eos_token_id=2,
)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}


def llama(**changes):
    return LlamaForCausalLM(LlamaConfig(**{**SMALL, "rms_norm_eps": 1e-5, "rope_parameters": PLAIN, **changes}))


def qwen2(**changes):
    # Qwen2 has no head_dim of its own: it is hidden_size / num_attention_heads.
    return Qwen2ForCausalLM(Qwen2Config(**{**SMALL, "head_dim": 12, "rms_norm_eps": 1e-6, "rope_parameters": PLAIN, **changes}))


def qwen3(**changes):
    theta = {"rope_type": "default", "rope_theta": 1000000.0}
    return Qwen3ForCausalLM(Qwen3Config(**{**SMALL, "head_dim": 24, "rms_norm_eps": 1e-6, "rope_parameters": theta, **changes}))


def gpt2(**changes):
    return GPT2LMHeadModel(
        GPT2Config(
            **{
                **dict(vocab_size=VOCAB, n_positions=128, n_embd=40, n_layer=3, n_head=4, n_inner=None),
                **dict(bos_token_id=1, eos_token_id=2),
                **changes,
            }
        )
    )


def bert(**changes):
    return BertModel(
        BertConfig(
            **{
                **dict(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=2, num_attention_heads=4),
                **dict(intermediate_size=112, max_position_embeddings=64, type_vocab_size=2),
                **changes,
            }
        ),
        add_pooling_layer=False,
    )


# name -> (model, dtype of the files, form of the config, GGUF is kept)
# The form is that of transformers 5 ("rope_parameters") or of the releases before ("rope_theta", "rope_scaling").
TEXT = {
    "llama2": (lambda: llama(), torch.float16, "v4", True),
    "llama2-b": (lambda: llama(num_key_value_heads=4), torch.bfloat16, "v4", False),
    "llama3": (lambda: llama(rope_parameters=LLAMA3), torch.float16, "v4", True),
    "llama3-b": (lambda: llama(rope_parameters=LLAMA3, tie_word_embeddings=True), torch.bfloat16, "v5", False),
    "llama-tied-bias": (
        lambda: llama(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rope_parameters=LINEAR),
        torch.float32,
        "v4",
        False,
    ),
    "qwen2": (lambda: qwen2(tie_word_embeddings=True), torch.float16, "v4", True),
    "qwen2-yarn": (lambda: qwen2(rope_parameters=YARN), torch.bfloat16, "v4", False),
    "qwen3": (lambda: qwen3(tie_word_embeddings=True), torch.float16, "v4", True),
    "qwen3-b": (lambda: qwen3(num_attention_heads=6, num_key_value_heads=3, head_dim=12), torch.bfloat16, "v5", False),
    "gpt2": (lambda: gpt2(), torch.float16, "v4", True),
    "gpt2-b": (lambda: gpt2(n_embd=48, n_head=2, n_layer=2), torch.float32, "v4", False),
}
# name -> (model, dtype of the files, pooling mode, GGUF is kept)
EMBEDDING = {
    "bert-mean": (lambda: bert(), torch.float16, "mean", True),
    "bert-cls": (lambda: bert(hidden_size=48, num_attention_heads=2), torch.bfloat16, "cls", False),
    "qwen3-embedding": (lambda: qwen3(tie_word_embeddings=True), torch.bfloat16, "lasttoken", False),
}


def randomize(model, generator, dtype):
    """Gives every weight a value that matters, and the precision of the files."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name.lower() or ".ln_" in name:
            value = (1.0 if name.endswith("weight") else 0.0) + 0.2 * noise
        elif p.dim() == 1:
            value = 0.3 * noise
        elif any(part in name for part in ("embed", "wte", "wpe")):
            value = noise * 0.5
        elif "lm_head" in name:
            value = noise * 0.5
        else:
            fan_in = p.shape[0] if isinstance(model, GPT2LMHeadModel) else p.shape[1]
            value = noise * 1.4 / math.sqrt(fan_in)
        p.data = value.to(dtype).float()


def plain_config(path, form):
    """Rewrites the RoPE parameters as releases before 5 wrote them, as most public files have them."""
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters", None)
    if rope is not None and form == "v4":
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        if rope["rope_type"] == "linear":  # The oldest spelling.
            config["rope_scaling"] = {"type": "linear", "factor": rope["factor"]}
    elif rope is not None:
        config["rope_parameters"] = rope
    config.pop("transformers_version", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def save(model, folder, dtype, form, without_prefix=False):
    folder.mkdir(parents=True)
    # A copy, because a conversion there and back would round the RoPE frequencies too.
    copy.deepcopy(model).to(dtype).save_pretrained(folder)
    if without_prefix:  # As Qwen3-Embedding's files are: the bare decoder's names.
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        weights = {k.removeprefix("model."): v for k, v in weights.items()}
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    plain_config(folder / "config.json", form)
    (folder / "generation_config.json").unlink(missing_ok=True)


def versions():
    return {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}


@torch.no_grad()
def text_golden(model, tokens):
    """Logits at every position of the prompt and the greedy continuation; None where a choice is close."""
    logits = model(torch.tensor([tokens]), use_cache=False).logits[0]
    sequence = list(tokens)
    for _ in range(GREEDY_LEN):
        best = model(torch.tensor([sequence]), use_cache=False).logits[0, -1].topk(2)
        if best.values[0] - best.values[1] < MARGIN:
            return None
        sequence.append(best.indices[0].item())
    if len(set(sequence[len(tokens) :])) < 6:
        return None  # A constant answer says little.
    return logits.numpy(), sequence[len(tokens) :]


def make_text(name, build, dtype, form, with_gguf):
    for seed in range(1, 1000):
        generator = torch.Generator().manual_seed(seed * 7919 + sum(name.encode()))
        model = build().eval()
        model.config._attn_implementation = "eager"
        randomize(model, generator, dtype)
        tokens = torch.randint(3, VOCAB, (PROMPT_LEN,), generator=generator).tolist()
        if golden := text_golden(model, tokens):
            break
    else:
        sys.exit(f"{name}: no seed has clear choices")
    folder = OUT / name
    save(model, folder, dtype, form)
    # What counts is what transformers reads from the files.
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    logits, greedy = text_golden(model, tokens)
    assert abs(logits - golden[0]).max() < 1e-5, name
    (folder / "golden.json").write_text(
        json.dumps({"seed": seed, "versions": versions(), "prompt": tokens, "greedy": greedy}) + "\n"
    )
    logits.astype("<f4").tofile(folder / "logits.f32")
    error = check_with_llama_cpp(model, tokens, logits)
    if with_gguf:
        write_gguf(model, folder / "model.gguf", dtype)
    print(f"{name}: seed {seed}, logits {abs(logits).max():.1f} at most, llama.cpp within {error:.1e}")


@torch.no_grad()
def make_embedding(name, build, dtype, pooling, with_gguf):
    generator = torch.Generator().manual_seed(sum(name.encode()))
    model = build().eval()
    model.config._attn_implementation = "eager"
    randomize(model, generator, dtype)
    sequences = [torch.randint(3, VOCAB, (n,), generator=generator).tolist() for n in (1, 2, 7, 19, 40, 64)]
    folder = OUT / name
    save(model, folder, dtype, "v4", without_prefix=pooling == "lasttoken")
    base = getattr(model, "model", model)
    vectors = []
    for sequence in sequences:
        hidden = base(torch.tensor([sequence])).last_hidden_state[0]
        pooled = {"mean": hidden.mean(0), "cls": hidden[0], "lasttoken": hidden[-1]}[pooling]
        vectors.append(torch.nn.functional.normalize(pooled, dim=0).numpy())
    # The modules as sentence-transformers writes them.
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n")
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    flags = {f"pooling_mode_{m}": m.removesuffix("_tokens").removesuffix("_token") == pooling for m in modes}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": base.config.hidden_size, **flags}, indent=2) + "\n"
    )
    (folder / "golden.json").write_text(
        json.dumps({"seed": sum(name.encode()), "versions": versions(), "sequences": sequences}) + "\n"
    )
    np.stack(vectors).astype("<f4").tofile(folder / "vectors.f32")
    if with_gguf:
        write_gguf(model, folder / "model.gguf", dtype)
    print(f"{name}: {len(vectors)} vectors")


def gguf_metadata(writer, model):
    c = model.config
    writer.add_file_type(1)
    writer.add_name("tiny")
    writer.add_tokenizer_model("none")
    if isinstance(model, GPT2LMHeadModel):
        writer.add_context_length(c.n_positions)
        writer.add_embedding_length(c.n_embd)
        writer.add_feed_forward_length(4 * c.n_embd)
        writer.add_block_count(c.n_layer)
        writer.add_head_count(c.n_head)
        writer.add_layer_norm_eps(c.layer_norm_epsilon)
        writer.add_vocab_size(c.vocab_size)
        return
    writer.add_vocab_size(c.vocab_size)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_head_count(c.num_attention_heads)
    if isinstance(model, BertModel):
        writer.add_layer_norm_eps(c.layer_norm_eps)
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        writer.add_token_type_count(c.type_vocab_size)
        return
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    rope = c.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, head_dim))
    else:
        assert rope["rope_type"] == "default", rope


def llama3_factors(rope, head_dim):
    """What each RoPE frequency is divided by, as Llama 3.1's reference code computes it."""
    factors = []
    for i in range(0, head_dim, 2):
        wavelen = 2 * math.pi * rope["rope_theta"] ** (i / head_dim)
        original = rope["original_max_position_embeddings"]
        rotations = original / wavelen
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = min(max((rotations - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_gguf(model, path, dtype):
    arch = {"gpt2": "GPT2", "llama": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3", "bert": "BERT"}[model.config.model_type]
    arch = gguf.MODEL_ARCH[arch]
    names = gguf.get_tensor_name_map(arch, 8)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    gguf_metadata(writer, model)
    done = set()
    for name, p in model.named_parameters():
        if id(p) in done:
            continue
        done.add(id(p))
        value = p.detach().float()
        if isinstance(model, GPT2LMHeadModel) and ".c_" in name and value.dim() == 2:
            value = value.T  # Conv1D keeps inputs first.
        if arch == gguf.MODEL_ARCH.LLAMA and (".q_proj." in name or ".k_proj." in name):
            # The halves of a head that rotate together become neighbours.
            heads = model.config.num_attention_heads if ".q_proj." in name else model.config.num_key_value_heads
            value = value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        value = np.ascontiguousarray(value.numpy())
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target, name
        if value.ndim == 1 or dtype == torch.float32:
            writer.add_tensor(target, value)
        elif dtype == torch.float16:
            writer.add_tensor(target, value.astype(np.float16))
        else:
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(target, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_with_llama_cpp(model, tokens, logits):
    """The greatest difference between llama.cpp's logits and transformers', both in single precision."""
    import llama_cpp

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(model, path, torch.float32)
        reader = llama_cpp.Llama(
            str(path), n_ctx=128, n_batch=64, logits_all=True, type_k=0, type_v=0, flash_attn=False, verbose=False
        )
        reader.eval(tokens)
        error = float(abs(reader.scores[: len(tokens)] - logits).max())
    # ggml looks GELU up in a table of half precision.
    bound = 1e-2 if isinstance(model, GPT2LMHeadModel) else 1e-4
    assert error < bound, error
    return error


def main():
    for name in sys.argv[1:] or [*TEXT, *EMBEDDING]:
        shutil.rmtree(OUT / name, ignore_errors=True)
        if name in TEXT:
            make_text(name, *TEXT[name])
        else:
            make_embedding(name, *EMBEDDING[name])


if __name__ == "__main__":
    main()
