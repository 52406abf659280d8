#!/usr/bin/env python3
"""Hearth beside llama.cpp on the same GGUF file, the same threads, interleaved in one run.

    bench/compare.py MODEL.gguf [--hearth target/release/hearth] [--threads 2] [--rounds 3]
                     [--prompt 512] [--gen 64] [--batch 1,8,32] [--json]

Needs the PyPI package llama-cpp-python, built for the machine (CMAKE_ARGS=-DGGML_NATIVE=ON). Each round measures
llama.cpp in a process of its own, with flash attention and without, of which the better figures count, and then
`hearth bench`; the table gives the median of the rounds and the ratio of the pairs. The shares are of what the machine
was measured to reach in the same run: of its peak of integer products (f32 products, where weights are not quantized)
and of its read bandwidth, all weights being read once a step. Weights may be random: speed does not depend on their
values.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def peer(args):
    """Measure llama.cpp in this process; prints one JSON object."""
    import llama_cpp as l

    l.llama_backend_init()
    mp = l.llama_model_default_params()
    mp.n_gpu_layers = 0
    model = l.llama_model_load_from_file(args.model.encode(), mp)
    if not model:
        sys.exit(f"llama.cpp cannot load {args.model}")
    vocab = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
    batches = [int(b) for b in args.batch.split(",")]
    most = max(batches)
    cp = l.llama_context_default_params()
    cp.n_ctx = max(args.prompt, most * (args.gen + 16)) + 64
    cp.n_batch = cp.n_ubatch = max(512, most)
    cp.n_seq_max = most
    cp.n_threads = cp.n_threads_batch = args.threads
    if hasattr(cp, "kv_unified"):
        cp.kv_unified = True
    best = {"prefill": 0.0, "batch": dict.fromkeys(map(str, batches), 0.0)}
    # Which of the two is faster depends on the machine and on the figure.
    for flash in (l.LLAMA_FLASH_ATTN_TYPE_ENABLED, l.LLAMA_FLASH_ATTN_TYPE_DISABLED):
        cp.flash_attn_type = flash
        ctx = l.llama_init_from_model(model, cp)
        got = speeds(l, ctx, vocab, args.prompt, args.gen, batches)
        l.llama_free(ctx)
        best["prefill"] = max(best["prefill"], got["prefill"])
        for n, speed in got["batch"].items():
            best["batch"][n] = max(best["batch"][n], speed)
    print(json.dumps(best))


def speeds(l, ctx, vocab, prompt, gen, batches):
    """Tokens a second of a context of llama.cpp: of a prompt, and of as many sequences as `batches` tells."""
    memory = l.llama_get_memory(ctx)

    def decode(rows):
        """rows: (token, position, sequence, logits wanted)"""
        batch = l.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        code = l.llama_decode(ctx, batch)
        l.llama_batch_free(batch)
        if code != 0:
            sys.exit(f"llama_decode: {code}")

    def token(i):
        return 3 + (i * 7919) % (vocab - 3)

    def prefill(n):
        for start in range(0, n, 512):
            stop = min(n, start + 512)
            decode([(token(p), p, 0, p == n - 1) for p in range(start, stop)])

    result = {"batch": {}}
    prefill(32)
    l.llama_memory_clear(memory, True)
    begin = time.perf_counter()
    prefill(prompt)
    result["prefill"] = prompt / (time.perf_counter() - begin)
    for n in batches:
        l.llama_memory_clear(memory, True)
        for s in range(n):
            decode([(token(p + s), p, s, p == 15) for p in range(16)])
        begin = time.perf_counter()
        for step in range(gen):
            decode([(token(step * 31 + s), 16 + step, s, True) for s in range(n)])
        result["batch"][str(n)] = n * gen / (time.perf_counter() - begin)
    return result


def run(command):
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{out.stderr[-2000:]}")
    return json.loads(out.stdout[out.stdout.index("{"):])


def hearth(args):
    got = run([args.hearth, "bench", "--model", args.model, "--prompt", str(args.prompt), "--gen", str(args.gen),
               "--batch", args.batch, "--threads", str(args.threads), "--runs", "1", "--json"])
    return {
        "prefill": got["prefill"]["tokens_per_second"],
        "batch": {str(d["batch"]): d["tokens_per_second"] for d in got["decode"]},
        "machine": got["machine"],
        "prefill_shares": {"peak": got["prefill"]["share_of_peak"]},
        "batch_shares": {str(d["batch"]): {"peak": d["share_of_peak"], "bandwidth": d["share_of_bandwidth"]}
                         for d in got["decode"]},
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--hearth", default="target/release/hearth")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--gen", type=int, default=64)
    p.add_argument("--batch", default="1,8,32")
    p.add_argument("--json", action="store_true")
    p.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.peer:
        return peer(args)
    mine, theirs = [], []
    again = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], "--peer"]
    for _ in range(args.rounds):
        theirs.append(run(again))
        mine.append(hearth(args))

    def rows():
        yield f"prefill {args.prompt}", lambda r: r["prefill"], lambda r: r["prefill_shares"]
        for n in args.batch.split(","):
            yield f"decode {n}", lambda r, n=n: r["batch"][n], lambda r, n=n: r["batch_shares"][n]

    table = []
    for name, get, shares in rows():
        row = {
            "what": name,
            "hearth": statistics.median(map(get, mine)),
            "llama_cpp": statistics.median(map(get, theirs)),
            "ratio": statistics.median(get(m) / get(t) for m, t in zip(mine, theirs)),
        }
        for limit in shares(mine[0]):
            row[f"hearth_of_{limit}"] = statistics.median(shares(m)[limit] for m in mine)
            # The same work in the time that llama.cpp takes.
            row[f"llama_cpp_of_{limit}"] = statistics.median(
                shares(m)[limit] / get(m) * get(t) for m, t in zip(mine, theirs))
        table.append(row)

    def limit(name):
        return statistics.median(m["machine"][name] for m in mine) / 1e9

    limits = {"int8_gops": limit("int8_ops_per_second"), "f32_gflops": limit("f32_flops_per_second"),
              "read_gbs": limit("read_bandwidth_bytes_per_second")}
    if args.json:
        return print(json.dumps({"machine": limits, "rows": table}, indent=2))
    import llama_cpp
    print(f"{os.path.basename(args.model)}, {args.threads} threads, {args.rounds} rounds, tokens a second; "
          f"llama-cpp-python {llama_cpp.__version__}")
    print("the machine: {int8_gops:.0f} Gop/s with integers, {f32_gflops:.0f} with f32, reads {read_gbs:.1f} GB/s\n"
          .format(**limits))
    head = ["", "hearth", "llama.cpp", "ratio", "of peak", "of bandwidth"]
    print("| {:12} | {:>8} | {:>9} | {:>6} | {:>15} | {:>15} |".format(*head))
    print("|" + "|".join("-" * n for n in (14, 10, 11, 8, 17, 17)) + "|")
    for r in table:
        cells = [f"{r[f'hearth_of_{x}']:.0%} ({r[f'llama_cpp_of_{x}']:.0%})" if f"hearth_of_{x}" in r else ""
                 for x in ("peak", "bandwidth")]
        print(f"| {r['what']:12} | {r['hearth']:8.1f} | {r['llama_cpp']:9.1f} | {r['ratio']:5.2f}x "
              f"| {cells[0]:>15} | {cells[1]:>15} |")
    print("\nshares are hearth's, llama.cpp's in brackets")


main()
