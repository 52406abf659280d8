#!/usr/bin/env python3
"""The server against its own description: `fuzz.py [--seconds 60] [--seed 1]`.

schemathesis reads /openapi.json and asks every endpoint what the description allows and what it forbids. No answer may
be one that is not described, and none a failure of the server. Two servers are asked at the same time, each on a port
of its own with a fresh home: one that asks nobody who he is, and one that wants a key.

Needs target/release/hearth, and what requirements.txt names, installed for the Python that runs this.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEARTH = ROOT / "target/release/hearth"

GENERATING = ["POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings", "POST /v1/batch",
              "POST /api/v1/generate"]

PREDICTING = ["POST /predict", "POST /predict/batch", "POST /{model_name}/predict"]

VERSIONED = "/v2/models/{model_name}/versions/{model_version}"

INFERRING = ["POST /v2/models/{model_name}/infer", f"POST {VERSIONED}/infer",
             "POST /predictions/{model_name}", "POST /predictions/{model_name}/{model_version}",
             "PUT /predictions/{model_name}"]

DESCRIBING = [f"GET {path}{part}" for path in ("/v2/models/{model_name}", VERSIONED)
              for part in ("", "/ready", "/config", "/stats")]

# What a description has no words for: the check, the status that is right as well, where, and why.
BESIDES = [
    ("not_a_server_error", 503, GENERATING[:2],
     "`timeout` may be a millisecond, which is over before the answer is there"),
    ("not_a_server_error", 503, PREDICTING, "`timeout` may be a millisecond"),
    ("positive_data_acceptance", 422, PREDICTING, "what a network takes is its own matter"),
    ("positive_data_acceptance", 400, PREDICTING, "the model may be one that generates text, or not that of the path"),
    ("positive_data_acceptance", 400, GENERATING,
     "whether a prompt fits the model, a token is one of its own, `dimensions` are at most its own, `stream_options` "
     "has its `stream`, `best_of` is at least `n`, `model` can do it"),
    ("negative_data_rejection", 200, ["POST /v1/batch"],
     "a request of a batch that is wrong fails alone, within the answer"),
    ("not_a_server_error", 503, INFERRING[:2], "`timeout` may be a microsecond"),
    ("positive_data_acceptance", 400, INFERRING, "what a network takes is its own matter, and how long the object is the header's"),
    ("positive_data_acceptance", 400, DESCRIBING, "the model may be one that generates text"),
    ("negative_data_rejection", 200, INFERRING[2:], "any bytes may be the elements of an input"),
    ("positive_data_acceptance", 400, ["POST /v2/repository/models/{model_name}/load",
                                       "POST /v2/repository/models/{model_name}/unload"],
     "the model may be one that generates text, or `parameters` has what a load refuses"),
    ("positive_data_acceptance", 400, ["GET /ws"], "it takes a WebSocket's handshake, which is not described"),
    ("positive_data_acceptance", 400, ["POST /auth/logout"], "it takes the token of a session, not a key"),
    ("positive_data_acceptance", 400, ["POST /auth/register"], "the name may be taken"),
    ("positive_data_acceptance", 400, ["POST /models/manage"], "`retry` needs a download that failed"),
]


class Server:
    """A server of its own, with what it takes to ask it."""

    def __init__(self, folder, name, arguments=()):
        self.home = folder / name
        self.home.mkdir()
        self.log = self.home / "output"
        self.environment = dict(os.environ, HEARTH_HOME=str(self.home))
        self.headers = []
        self.process = None
        self.arguments = [str(HEARTH), "serve", "--host", "127.0.0.1", "--port", "0", *arguments]

    def hearth(self, *arguments, text=""):
        done = subprocess.run([HEARTH, *arguments], env=self.environment, cwd=self.home, input=text, text=True,
                              capture_output=True)
        if done.returncode != 0:
            sys.exit(f"hearth {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.arguments, env=self.environment, cwd=self.home, stdout=log,
                                            stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", self.log.read_text(errors="replace"))):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server did not come up; its log:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.05)
        self.url = found.group()

    def get(self, path):
        headers = dict(header.split(": ", 1) for header in self.headers)
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers)) as answer:
            return answer.read()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def configuration(description):
    """What is right besides the description, as schemathesis' own settings."""
    defaults = {
        "not_a_server_error": ["2xx", "3xx", "4xx"],
        "positive_data_acceptance": ["2xx", "3xx", "401", "403", "404", "409", "429", "5xx"],
        "negative_data_rejection": ["400", "401", "403", "404", "405", "406", "409", "415", "422", "428", "429", "5xx"],
    }
    right = {}
    for path, item in description["paths"].items():
        for method, operation in item.items():
            name = f"{method.upper()} {path}"
            right[name] = {}
            # What comes later says so.
            if "501" in operation["responses"]:
                right[name]["not_a_server_error"] = ["501"]
    for check, status, names, _why in BESIDES:
        for name in names:
            if name not in right:
                sys.exit(f"fuzz.py: there is no {name} any more")
            right[name].setdefault(check, []).append(str(status))
    # A made-up credential is a wrong one, even where none is asked for.
    lines = ["generation.with-security-parameters = false", "auth.auto-signup = false"]
    for name, checks in right.items():
        lines += ["[[operations]]", f"include-name = {json.dumps(name)}"] if checks else []
        for check, statuses in checks.items():
            lines.append(f"checks.{check}.expected-statuses = {json.dumps(defaults[check] + statuses)}")
    return "\n".join(lines) + "\n"


def begin(server, args):
    """Starts schemathesis on a server."""
    settings = server.home / "schemathesis.toml"
    settings.write_text(configuration(json.loads(server.get("/openapi.json"))))
    command = [pathlib.Path(sys.executable).parent / "schemathesis", "--config-file", settings, "run",
               f"{server.url}/openapi.json", "--max-time", str(args.seconds), "--seed", str(args.seed),
               "--max-examples", "20", "--generation-database", "none", "--continue-on-failure", "--no-shrink",
               "--no-color", "--report", "json", "--report-json-path", server.home / "report.json"]
    for header in server.headers:
        command += ["--header", header]
    environment = dict(os.environ, SCHEMATHESIS_HOOKS="hooks", PYTHONPATH=str(pathlib.Path(__file__).parent))
    if server.headers:
        environment["FUZZ_KEY_ID"] = json.loads(server.get("/v1/auth/keys"))["data"][0]["key_id"]
    with (server.home / "schemathesis.log").open("w") as log:
        return subprocess.Popen(command, cwd=server.home, env=environment, stdout=log, stderr=subprocess.STDOUT)


def verdict(server, run, patience):
    """Whether all went well; says what did not."""
    try:
        code = run.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        run.kill()
        code = "no end"
    name = server.home.name
    if code != 0:
        print((server.home / "schemathesis.log").read_text(errors="replace"))
        print(f"{name}: schemathesis: {code}; the server's last lines:")
        print("\n".join(server.log.read_text(errors="replace").splitlines()[-20:]))
        return False
    report = json.loads((server.home / "report.json").read_text())
    operations = report["operations"]
    if operations["tested"] != operations["total"] or not operations["total"]:
        print(f"{name}: not every endpoint was asked: {operations}")
        return False
    # With a server that has come down, or a key that is gone, all would have been easy.
    server.get("/v1/auth/user")
    print(f"{name}: {operations['tested']} endpoints, {report['test_cases']['generated']} requests, nothing found")
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=int, default=60)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        unlimited = ("--rate-limit", "1000000", "--burst-limit", "1000000")
        servers = [Server(folder, "open"), Server(folder, "guarded", ("--auth", *unlimited))]
        guarded = servers[1]
        guarded.hearth("user", "add", "root", "--admin", text="correct horse battery\n")
        made = guarded.hearth("key", "create", "--user", "root", "--name", "fuzz", "--permission", "admin")
        key = re.search(r"sk-\S+", made).group()
        guarded.headers = [f"Authorization: Bearer {key}"]
        try:
            for server in servers:
                server.start()
            runs = [begin(server, args) for server in servers]
            good = [verdict(server, run, args.seconds + 60) for server, run in zip(servers, runs)]
        finally:
            for server in servers:
                server.stop()
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
