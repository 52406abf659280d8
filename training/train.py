"""Train ember: Muon for the matrices, AdamW for embeddings and norms; warm-up, stable rate, linear decay to zero.

Interrupt it at any time: run again with the same arguments it goes on from the last checkpoint. More `--steps` extend a
run that has not begun to decay.
"""

import argparse
import copy
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the threads are ours: each works on its own micro-batch

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import export
from batches import Encoder, Stream
from model import Config, Ember
from muon import Muon
from render import IM_END, IM_START

PROMPTS = ["Hello", "What is the capital of France?", "What is 7 plus 8?", "My name is Tomlo. What is my name?", "Tell me a short story about a fox.",
           "Hello! Who are you?", "What can you do?", "How do I add a model?", "thx, bye", "What is 17 plus 26?", "Give me JSON with name Rosa and age 31", "What is Hearth?", "Explain quantum computing", "Spell garden", "Repeat after me: blue window stone"]


def rate(step: int, steps: int, warmup: int, decay: float) -> float:
    """The share of the full learning rate at a step."""
    start = int(steps * (1 - decay))
    if step < warmup:
        return (step + 1) / warmup
    if step < start:
        return 1.0
    return max(0.0, (steps - step) / (steps - start))


@torch.no_grad()
def answer(model: Ember, encoder: Encoder, prompt: str, limit: int = 60) -> str:
    """A greedy answer, computed without a cache: for a look at the training only."""
    t = encoder.tokenizer
    ids = t.encode(f"{IM_START}user\n{prompt}{IM_END}\n{IM_START}assistant\n", add_special_tokens=False).ids
    start = len(ids)
    device = model.cos.device
    for _ in range(limit):
        token = int(model.hidden(torch.tensor([ids], device=device))[0, -1].matmul(model.model.embed_tokens.weight.T).argmax())
        if token == encoder.special[IM_END]:
            break
        ids.append(token)
    return t.decode(ids[start:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="folder of tokenizer.json and tokenizer_config.json")
    parser.add_argument("out", type=Path, help="folder for checkpoint.pt and log.jsonl")
    parser.add_argument("--export", type=Path, help="Hugging Face folder, renewed on the way")
    parser.add_argument("--export-minutes", type=float, default=15)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--micro-tokens", type=int, default=1024)
    parser.add_argument("--micro-batches", type=int, default=6, help="micro-batches a step")
    parser.add_argument("--warmup", type=int, default=40)
    parser.add_argument("--decay", type=float, default=0.5, help="the share of the steps over which the rate falls to zero")
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=0.004)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    torch.set_num_threads(1)
    if args.device != "cpu":
        args.threads = 1
    pool = ThreadPoolExecutor(args.threads)
    torch.manual_seed(args.seed)
    config = Config(num_hidden_layers=args.layers)
    model = Ember(config).to(args.device)
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or "embed" in n]
    # Every second matrix to each optimizer, so that the threads share the work.
    optimizers = [Muon(matrices[i :: args.threads], lr=args.muon_lr) for i in range(args.threads)] + [torch.optim.AdamW(others, lr=args.adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]
    full = [args.muon_lr] * args.threads + [args.adam_lr]
    params = list(model.parameters())
    # Forward and backward passes run on a bf16 copy; gradients are summed and weights updated in f32.
    half = copy.deepcopy(model).bfloat16()
    half_params = list(half.parameters())
    encoder = Encoder(str(args.tokenizer / "tokenizer.json"), config.max_position_embeddings)
    stream = Stream(encoder, args.seed, args.micro_tokens)
    step, tokens, trained_tokens, seconds = 0, 0, 0, 0.0

    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=args.device, weights_only=False)
        model.load_state_dict(saved["model"])
        for o, s in zip(optimizers, saved["optimizers"]):
            o.load_state_dict(s)
        stream.restore(saved["stream"])
        step, tokens, trained_tokens, seconds = saved["step"], saved["tokens"], saved["trained_tokens"], saved["seconds"]
        print(f"resumed at step {step}", flush=True)

    def save():
        state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers], "config": config.to_dict(), "stream": stream.state(),
                 "step": step, "tokens": tokens, "trained_tokens": trained_tokens, "seconds": seconds,
                 "args": {k: str(v) for k, v in vars(args).items()}}
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.rename(checkpoint)

    stop = []  # a signal ends the run after its step
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(True))
    log = (args.out / "log.jsonl").open("a")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters on {args.device}, {args.steps} steps", flush=True)
    last_save = last_export = last_log = time.time()
    window, window_tokens = [], 0
    while step < args.steps and not stop:
        begun = time.time()
        with torch.no_grad():
            for p, h in zip(params, half_params):
                h.copy_(p)
        micro = [stream.next() for _ in range(args.micro_batches)]
        total = sum(int(trained.sum()) for _, trained in micro)

        def gradients(batch):
            ids, trained = (t.to(args.device) for t in batch)
            logits = half(ids[:, :-1], trained).float()
            loss = F.cross_entropy(logits, ids[:, 1:][trained], reduction="sum") / total
            return loss.item(), torch.autograd.grad(loss, half_params)

        loss_sum = 0.0
        for loss, grads in pool.map(gradients, micro):  # summed in a fixed order
            loss_sum += loss
            for p, g in zip(params, grads):
                p.grad = g.float() if p.grad is None else p.grad.add_(g)
        size = sum(ids.numel() for ids, _ in micro)
        tokens += size
        window_tokens += size
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        share = rate(step, args.steps, args.warmup, args.decay)
        for o, lr in zip(optimizers, full):
            for group in o.param_groups:
                group["lr"] = lr * share
        list(pool.map(lambda o: o.step(), optimizers))
        for o in optimizers:
            o.zero_grad()
        step += 1
        trained_tokens += total
        window.append(loss_sum)
        now = time.time()
        seconds += now - begun
        if step % 20 == 0 or step == args.steps:
            line = {"step": step, "loss": round(sum(window) / len(window), 4), "lr": round(share, 4), "tokens": tokens,
                    "tokens_per_s": round(window_tokens / (now - last_log)), "seconds": round(seconds)}
            print(json.dumps(line), flush=True)
            log.write(json.dumps(line) + "\n")
            log.flush()
            window, window_tokens, last_log = [], 0, now
        if step % 200 == 0 or step == args.steps:
            model.eval()
            for prompt in PROMPTS:
                print(f"   {prompt!r} -> {answer(model, encoder, prompt)!r}", flush=True)
            model.train()
            last_log = time.time()
        if now - last_save > 120 or step == args.steps or stop:
            save()
            last_save = now
        if args.export and (now - last_export > 60 * args.export_minutes or step == args.steps):
            export.write(model, args.tokenizer, args.export)
            last_export = now
    print(f"step {step}: {tokens:,} tokens ({trained_tokens:,} of them answers), {seconds / 60:.1f} minutes of steps", flush=True)


if __name__ == "__main__":
    main()
