#!/usr/bin/env python3
"""How soon a server that was just started listens, and answers with its first token.

    bench/start.py MODEL [--hearth target/release/hearth] [--runs 5] [--threads N] [--json]

Each run starts a process of its own, on a port that the system chooses; the first request is sent as soon as it
listens, and loads the model. The model's file has been read before, so that it is in the page cache.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time


def once(args):
    command = [args.hearth, "serve", "--port", "0", "--model", f"model={args.model}"]
    if args.threads:
        command += ["--threads", str(args.threads)]
    with tempfile.TemporaryDirectory() as home:
        environment = dict(os.environ, HEARTH_HOME=home, HEARTH_LOG="error")
        began = time.perf_counter()
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            port = None
            while port is None:
                line = server.stdout.readline()
                if not line:
                    sys.exit("start.py: the server ended")
                found = re.search(r"http://[\d.]+:(\d+)", line)
                port = found and int(found.group(1))
            listening = time.perf_counter() - began
            body = json.dumps({"model": "model", "prompt": "Once upon a time", "max_tokens": 1, "temperature": 0,
                               "ignore_eos": True})
            client = http.client.HTTPConnection("127.0.0.1", port)
            client.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            text = answer.read()
            if answer.status != 200:
                sys.exit(f"start.py: {answer.status} {text.decode()}")
            return {"listening_ms": listening * 1e3, "first_token_ms": (time.perf_counter() - began) * 1e3}
        finally:
            server.kill()
            server.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--hearth", default="target/release/hearth")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--threads", type=int)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    if os.path.isfile(args.model):
        with open(args.model, "rb") as file:
            while file.read(1 << 24):
                pass
    runs = [once(args) for _ in range(args.runs)]
    result = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    if args.json:
        return print(json.dumps(result))
    for name, value in result.items():
        print(f"{name:16} {value:8.1f}   of {', '.join(f'{run[name]:.1f}' for run in runs)}")


main()
