#!/usr/bin/env python3
"""What the server adds to a trivial request, beside one bare axum route.

    cargo build --release -p hearth -p hearth-serve --bin hearth --example bare
    bench/overhead.py [--path /voices] [--seconds 5] [--clients 32] [--rounds 3] [--json]

Authentication, limits, the record of who did what, log files and measurements are on; each request has an API key. A
server has one core, the load another. In turn, `--rounds` times: as many requests a second as the server takes, and
how long each takes at half of that load. Needs Linux with taskset, and nghttp2's h2load (Debian: nghttp2-client).
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
SERVER_CORE, LOAD_CORE = "0", "1"


def begin(command, home):
    """Starts a server on its core; its process and address."""
    log = open(home / "output", "a+")
    server = subprocess.Popen(["taskset", "-c", SERVER_CORE, *map(str, command)], stdout=subprocess.PIPE, stderr=log,
                              text=True, cwd=home, env=dict(os.environ, HEARTH_HOME=str(home)))
    for line in server.stdout:
        if found := re.search(r"http://[\d.]+:\d+", line):
            return server, found.group()
    log.seek(0)
    sys.exit(f"{command[0]} ended: {log.read()}")


def hearth(args, home):
    """Hearth with everything on; its process, its address and a key."""
    def tell(*arguments, text=""):
        environment = dict(os.environ, HEARTH_HOME=str(home))
        return subprocess.run([args.hearth, *arguments], env=environment, input=text, text=True, check=True,
                              capture_output=True, cwd=home).stdout
    tell("user", "add", "root", "--admin", text="correct horse battery\n")
    key = re.search(r"sk-\S+", tell("key", "create", "--user", "root", "--name", "bench", "--permission", "admin"))
    limits = ["--rate-limit", "1000000000", "--burst-limit", "1000000000"]
    server, url = begin([args.hearth, "serve", "--host", "127.0.0.1", "--port", "0", "--auth", *limits], home)
    return server, url, key.group()


def load(args, url, key, rate=None):
    """Requests a second; with a rate, the times of all requests in milliseconds, in order."""
    with tempfile.NamedTemporaryFile() as times:
        command = ["taskset", "-c", LOAD_CORE, "h2load", "--h1", "--threads", "1", "--clients", str(args.clients),
                   "--duration", str(args.seconds), "--warm-up-time", "1", "--header", f"authorization: Bearer {key}"]
        if rate:
            command += ["--rps", f"{rate / args.clients:.2f}", "--log-file", times.name]
        out = subprocess.run([*command, url + args.path], check=True, capture_output=True, text=True).stdout
        done = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", out)
        bad = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out)
        if not done or any(int(count) for count in bad.groups()[1:]):
            sys.exit(f"not every answer was a good one:\n{out}")
        if not rate:
            return float(done.group(1))
        return sorted(int(line.split("\t")[2]) / 1e3 for line in pathlib.Path(times.name).read_text().splitlines())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hearth", type=pathlib.Path, default=ROOT / "target/release/hearth")
    p.add_argument("--bare", type=pathlib.Path, default=ROOT / "target/release/examples/bare")
    p.add_argument("--path", default="/voices")
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--clients", type=int, default=32)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    args.hearth, args.bare = args.hearth.resolve(), args.bare.resolve()
    for tool in ("taskset", "h2load"):
        if not shutil.which(tool):
            sys.exit(f"overhead.py: there is no {tool}")
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        server, url, key = hearth(args, home)
        bare = None
        try:
            request = urllib.request.Request(url + args.path, headers={"Authorization": f"Bearer {key}"})
            body = urllib.request.urlopen(request).read().decode()
            bare, bare_url = begin([args.bare, args.path, body], home)
            rounds = []
            for _ in range(args.rounds):
                bare_rate, rate = load(args, bare_url, key), load(args, url, key)
                times = load(args, url, key, rate / 2)
                rounds.append({"bare_per_s": bare_rate, "hearth_per_s": rate, "ratio": rate / bare_rate,
                               "half_load_p50_ms": times[len(times) // 2],
                               "half_load_p99_ms": times[len(times) * 99 // 100]})
        finally:
            for process in (server, bare):
                if process:
                    process.kill()
                    process.wait()
    middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    if args.json:
        print(json.dumps({"median": middle, "rounds": rounds}))
        return
    for name, value in middle.items():
        print(f"{name:18} {value:10.2f}   of {', '.join(f'{one[name]:.2f}' for one in rounds)}")


main()
