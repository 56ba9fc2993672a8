"""Clients that don't fit into one environment with us, through the gateway and straight: same content, same errors.

    python -m tests.end_to_end.gateway_clients [--venv FOLDER]

Makes the environment if it isn't there, which takes minutes and a package index, so that this is no part of the tests.
curl is asked too, where there is one. Ends with 1 if anything differs, or if not every call was recorded.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from infrastructure.settings import read_settings
from tests.end_to_end.clients_in_their_own_environment import ERRORS, KEY, TEXT
from tests.interfaces.http.conftest import serving
from tests.support.misbehaving_server import MisbehavingServer, Received

CLIENTS = ("langchain-openai==1.7.4", "litellm==1.108.7", "llm==0.36")
SCRIPT = Path(__file__).with_name("clients_in_their_own_environment.py")
MARK = b"behave:"


def behaviour_of(request: Received, _number: int) -> str:
    """What the request itself asks for."""
    _, mark, rest = request.body.partition(MARK)
    return rest.partition(b'"')[0].decode() if mark else "ok"


def environment(folder: Path) -> Path:
    """The Python of an environment that has the clients."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *CLIENTS], check=True)
    return python


def outcomes(python: Path, url: str) -> dict[str, Any]:
    """What every client comes to at a base URL."""
    done = subprocess.run([python, SCRIPT, url], stdout=subprocess.PIPE, text=True, check=True, cwd=SCRIPT.parent)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    both: dict[str, Any] = json.loads(json.dumps({**found, **curl(url)}))
    return both


def curl(url: str) -> dict[str, Any]:
    """What curl prints: the body, and behind it the status."""
    if shutil.which("curl") is None:
        return {}
    found = {}
    for what, content, stream in (
        ("ask", TEXT, False),
        ("stream", TEXT, True),
        *((each, f"behave:{each}", False) for each in ERRORS),
    ):
        body = json.dumps({"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": content}]})
        command = ["curl", "-sS", "-N", "-w", "\n%{http_code}", f"{url}/chat/completions", "-d", body]
        command += ["-H", "content-type: application/json", "-H", f"authorization: Bearer {KEY}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found[f"curl: {what}"] = done.returncode, done.stdout, done.stderr
    return found


def main() -> None:
    """Ask both ways and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, help="where the clients are, or are to be installed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, MisbehavingServer() as provider:
        python = environment(options.venv or Path(name) / "venv")
        provider.behave_by(behaviour_of)
        settings = read_settings(
            study_home=Path(name) / "home",
            openai_base_url=provider.url,
            openai_api_key=KEY,
            study_log_level="error",
        )
        with serving(settings) as address:
            straight = outcomes(python, provider.url)
            before = len(provider.requests)
            through = outcomes(python, f"{address}/v1")
            asked = len(provider.requests) - before
            with urllib.request.urlopen(f"{address}/api/calls?limit=1000") as response:
                recorded = len(json.load(response)["items"])
    # A key that a provider echoes never reaches whoever asks: here it is the one thing that may differ.
    expected = json.loads(json.dumps(straight).replace(KEY, "[key]"))
    different = {what for what in straight if through[what] != expected[what]}
    for what in straight:
        print("differs" if what in different else "same   ", what)
        if what in different:
            print(f"    straight: {expected[what]}\n    through:  {through[what]}")
    print(f"{asked} requests reached the provider through the gateway, {recorded} calls are recorded")
    sys.exit(1 if different or asked != recorded else 0)


if __name__ == "__main__":
    main()
