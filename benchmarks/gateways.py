"""The gateways that are measured, each in a process of its own in front of one server: ours, and LiteLLM's proxy."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LITELLM = "litellm[proxy]==1.108.7"
START_SECONDS = 600.0
# It has no database and logs nothing; a proxy without a key must be told that this is meant.
LITELLM_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
}
LITELLM_CONFIGURATION = """
model_list:
  - model_name: bench
    litellm_params: {{model: openai/bench, api_base: "{upstream}/v1", api_key: sk-bench}}
"""


class Gateway:
    """A gateway that runs: where clients go, and which process it is."""

    def __init__(self, name: str, url: str, pid: int) -> None:
        self.name = name
        self.url = url
        self.pid = pid

    def memory_mb(self) -> float:
        """What it and its children hold in memory now."""
        return sum(_resident_mb(pid) for pid in _family(self.pid))


@contextmanager
def study_gateway(upstream: str, database_url: str, home: Path) -> Iterator[Gateway]:
    """`study serve` on a database, with durable capture as always."""
    settings = {
        "OPENAI_BASE_URL": f"{upstream}/v1",
        "OPENAI_API_KEY": "sk-bench",
        "DATABASE_URL": database_url,
        "STUDY_HOME": str(home),
        "STUDY_LOG_LEVEL": "warning",
    }
    port = free_port()
    command = [sys.executable, "-m", "interfaces.serving", "--port", str(port)]
    with serving("study", command, settings, port, path="/health/ready") as gateway:
        yield gateway


@contextmanager
def litellm_gateway(upstream: str, venv: Path) -> Iterator[Gateway]:
    """LiteLLM's proxy in an environment of its own, which is made if it isn't there."""
    if not (venv / "bin" / "litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", LITELLM], check=True)
    configuration = venv / "bench.yaml"
    configuration.write_text(LITELLM_CONFIGURATION.format(upstream=upstream))
    port = free_port()
    command = [
        str(venv / "bin" / "litellm"),
        "--config",
        str(configuration),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with serving("litellm", command, LITELLM_ENVIRONMENT, port, path="/health/liveliness") as gateway:
        yield gateway


@contextmanager
def serving(name: str, command: list[str], settings: Mapping[str, str], port: int, *, path: str) -> Iterator[Gateway]:
    """A server that listens at a port, which it has been told, and answers at a path by now."""
    environment = {**os.environ, **settings}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}{path}", process)
            yield Gateway(name, f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{address} did not come up in {START_SECONDS:g} s")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [pid, *(each for child in found for each in _family(child))]


def _resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
