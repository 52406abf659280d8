#!/usr/bin/env python3
"""Load on a server that speaks OpenAI's completions, as many clients make it: how many requests a minute, how soon.

    bench/load.py http://127.0.0.1:8000 --model NAME [--clients 32] [--requests 32] [--shared 1000] [--prompt 256]
                  [--gen 64] [--warm 1] [--vocab 32000] [--json]

Each client sends its next request when the one before is answered, until all are sent. A request's prompt is tokens:
`shared` that all have, then `prompt` of its own; its answer is streamed and has `gen` tokens (end-of-sequence tokens are
ignored). `warm` requests of the shared tokens alone go before the clock starts. Plain Python, nothing to install.

The server has to know `ignore_eos`, as Hearth, llama.cpp's llama-server and vLLM do, and to tell its usage.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
import urllib.parse


def tokens(seed, count, vocab):
    """Ordinary tokens that differ by seed; the first few of a vocabulary are often special."""
    low = min(300, vocab // 2)
    state = seed * 2654435761 + 1
    out = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out.append(low + (state >> 33) % (vocab - low))
    return out


class Failed(Exception):
    pass


async def events(reader):
    """The data of server-sent events, from an HTTP/1.1 answer."""
    status = (await reader.readline()).split()
    headers = {}
    while (line := (await reader.readline()).strip()):
        name, value = line.split(b":", 1)
        headers[name.lower()] = value.strip().lower()
    if len(status) < 2 or status[1] != b"200":
        length = int(headers.get(b"content-length", b"0"))
        raise Failed(f"{b' '.join(status).decode()}: {(await reader.readexactly(length)).decode()[:500]}")
    if headers.get(b"transfer-encoding") != b"chunked":
        raise Failed("the answer is not streamed")
    rest = b""
    while (size := int((await reader.readline()).split(b";")[0], 16)) > 0:
        rest += await reader.readexactly(size)
        await reader.readexactly(2)
        *whole, rest = rest.split(b"\n\n")
        for event in whole:
            if event.startswith(b"data: "):
                yield event[6:]
    await reader.readline()


async def complete(url, body):
    """One request: time to the first text, times between texts, time to the end, all in seconds, and the usage."""
    payload = json.dumps(body).encode()
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n").encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(url.hostname, url.port or 80)
    try:
        writer.write(head + payload)
        times, usage = [], None
        async for data in events(reader):
            if data == b"[DONE]":
                break
            now = time.perf_counter()
            event = json.loads(data)
            if "error" in event:
                raise Failed(data.decode())
            if any(choice.get("text") for choice in event.get("choices", [])):
                times.append(now)
            usage = event.get("usage") or usage
        ended = time.perf_counter()
    finally:
        writer.close()
    if not times or not usage:
        raise Failed("an answer without text or without usage")
    gaps = [b - a for a, b in zip(times, times[1:])]
    return times[0] - began, gaps, ended - began, usage


async def load(args):
    url = urllib.parse.urlsplit(args.url)
    shared = tokens(0, args.shared, args.vocab)

    def body(prompt, gen):
        return {"model": args.model, "prompt": prompt, "max_tokens": gen, "ignore_eos": True, "temperature": 0,
                "stream": True, "stream_options": {"include_usage": True}}

    for _ in range(args.warm):
        await complete(url, body(shared or tokens(0, 16, args.vocab), 1))
    waiting = list(range(1, args.requests + 1))[::-1]
    done = []

    async def client():
        while waiting:
            number = waiting.pop()
            prompt = shared + tokens(args.seed * 1_000_003 + number, args.prompt, args.vocab)
            done.append(await complete(url, body(prompt, args.gen)))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(args.clients)))
    wall = time.perf_counter() - began

    for _, _, _, usage in done:
        if usage["completion_tokens"] != args.gen or usage["prompt_tokens"] < args.shared + args.prompt:
            raise Failed(f"asked for {args.gen} tokens after {args.shared + args.prompt}, got {usage}")
    cached = [(usage.get("prompt_tokens_details") or {}).get("cached_tokens") for *_, usage in done]
    ttft = sorted(first for first, *_ in done)
    gaps = [gap for _, gaps, _, _ in done for gap in gaps]
    return {
        "requests": len(done),
        "seconds": wall,
        "requests_per_minute": len(done) / wall * 60,
        "tokens_per_second": len(done) * args.gen / wall,
        "ttft_median_ms": statistics.median(ttft) * 1e3,
        "ttft_p95_ms": ttft[min(len(ttft) - 1, int(len(ttft) * 0.95))] * 1e3,
        "gap_median_ms": statistics.median(gaps) * 1e3 if gaps else None,
        "gap_max_ms": max(gaps) * 1e3 if gaps else None,
        "latency_median_s": statistics.median(total for _, _, total, _ in done),
        "cached_tokens": None if None in cached else sum(cached),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("url")
    p.add_argument("--model", required=True)
    p.add_argument("--clients", type=int, default=32)
    p.add_argument("--requests", type=int, default=32)
    p.add_argument("--shared", type=int, default=1000)
    p.add_argument("--prompt", type=int, default=256)
    p.add_argument("--gen", type=int, default=64)
    p.add_argument("--warm", type=int, default=1)
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--seed", type=int, default=1, help="another seed makes other prompts")
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    try:
        result = asyncio.run(load(args))
    except (Failed, OSError, asyncio.IncompleteReadError) as error:
        sys.exit(f"load.py: {error}")
    if args.json:
        return print(json.dumps(result))
    for name, value in result.items():
        print(f"{name:20} {'-' if value is None else f'{value:.2f}' if isinstance(value, float) else value}")


main()
