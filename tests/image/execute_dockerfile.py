"""Carry out the Dockerfile without an engine, by hand: each step in a root of Debian's, as chroot lets root do.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm BASE
    python -m tests.image.execute_dockerfile BASE FOLDER

It leaves FOLDER/final and runs its entry point there, as the image's user, until it is healthy; then it is stopped by
SIGTERM, and started once more. What it printed, how healthy it said it was and how it ended are printed.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.image.dockerfile import ROOT, Instruction, stages, variables, words

HEALTHY_WITHIN_SECONDS = 300
FROM_OUTSIDE = ("PIP_CERT", "SSL_CERT_FILE", "HTTPS_PROXY", "https_proxy")


def make_root(base: Path, root: Path) -> None:
    """A copy of the base, in which python is Debian's."""
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copy(Path("/", name), root / name)


def carry_out(stage: list[Instruction], root: Path, built: Path | None) -> None:
    """The steps that change files. built: the root that COPY --from takes from"""
    folder = Path("/")
    for word, rest in stage:
        print(f"{word} {rest[:100]}", flush=True)
        if word == "WORKDIR":
            folder = Path(rest)
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            *sources, target = (part for part in rest.split() if not part.startswith("--from"))
            for source in sources:
                found = (built or ROOT) / source.lstrip("/")
                place = root / str(folder / target).lstrip("/")
                place = place / found.name if target == "./" else place
                subprocess.run(["cp", "-a", str(found), str(place)], check=True)
        elif word == "RUN":
            step = ["chroot", str(root), "/bin/sh", "-c", f"cd {folder} && {rest}"]
            subprocess.run(step, check=True, env=outside())


def outside() -> dict[str, str]:
    """What a step needs to reach the package index from here."""
    given = {name: os.environ[name] for name in FROM_OUTSIDE if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", **given}


def start(final: list[Instruction], root: Path, log: Path) -> subprocess.Popen[bytes]:
    """The entry point, as the image's user and with its environment alone."""
    command = [*words(final, "ENTRYPOINT"), *words(final, "CMD")]
    user = ["chroot", "--userspec=10001:10001", str(root), "env", "-i", *as_words(final)]
    return subprocess.Popen(
        [*user, "sh", "-c", 'cd /data && exec "$@"', "sh", *command], stdout=log.open("wb"), stderr=2
    )


def as_words(final: list[Instruction]) -> list[str]:
    return [f"{name}={value}" for name, value in {"HOME": "/data", **variables(final)}.items()]


def healthy(final: list[Instruction], root: Path) -> float:
    """How many seconds it took until the health check passed."""
    began = time.monotonic()
    check = ["chroot", "--userspec=10001:10001", str(root), "env", "-i", *as_words(final), *words(final, "HEALTHCHECK")]
    while subprocess.run(check, capture_output=True, check=False).returncode:
        if time.monotonic() - began > HEALTHY_WITHIN_SECONDS:
            sys.exit("it did not become healthy")
        time.sleep(1)
    return time.monotonic() - began


@contextmanager
def processes_of(root: Path) -> Iterator[None]:
    """/proc, without which no program finds the libraries that lie beside it."""
    subprocess.run(["mount", "-t", "proc", "proc", str(root / "proc")], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(root / "proc")], check=True)


def main(base: Path, folder: Path) -> None:
    build, final = stages((ROOT / "Dockerfile").read_text())
    built, root = folder / "build", folder / "final"
    if not root.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make_root(base, built)
        carry_out(build, built, None)
        make_root(base, root)
        carry_out(final, root, built)
    for name in ("gcc", "cc", "g++", "make"):
        assert not any((root / folder / name).exists() for folder in ("usr/bin", "usr/local/bin")), f"{name} is there"
    with processes_of(root):
        for turn in ("first", "second"):
            log = folder / f"{turn}.log"
            server = start(final, root, log)
            print(f"{turn} start: healthy after {healthy(final, root):.1f} s", flush=True)
            server.send_signal(signal.SIGTERM)
            print(f"{turn} start: ended with {server.wait(timeout=90)} on SIGTERM; it printed:")
            print(re.sub(r"sq_\S+", "sq_…", log.read_text()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
