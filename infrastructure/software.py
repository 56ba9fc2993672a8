"""What numbers are made with: versions of programs and of our own code, and the machine."""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from threadpoolctl import threadpool_info

from domain.identity import sha256_hex

LIBRARIES = ("study-query-llm", "numpy", "scipy", "numba")
OPTIONAL = ("scikit-learn", "umap-learn")
UNKNOWN = "unknown"
ROOT = Path(__file__).resolve().parents[1]


@cache
def software_versions() -> dict[str, str]:
    """By name: python, libraries, BLAS, platform, the commit where it can be known, and `rules`, the hash of domain/.

    `rules` is the same for the same code, committed or not, installed or run from a checkout.
    """
    import numpy  # noqa: F401 - so that its BLAS is there to be asked

    found = {
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
        **{name: found for name in OPTIONAL if (found := _version(name)) != UNKNOWN},
        "blas": ", ".join(sorted({_blas(each) for each in threadpool_info() if each["user_api"] == "blas"})) or "none",
        "platform": platform.platform(),
        "cores": str(os.cpu_count()),
        "rules": code_hash(ROOT / "domain"),
    }
    commit = commit_of(ROOT)
    return found if commit is None else {**found, "commit": commit}


def code_hash(folder: Path) -> str:
    """The SHA-256, its first 16 digits, of a package's modules: their paths and their bytes."""
    modules = sorted((module.relative_to(folder).as_posix(), module) for module in folder.rglob("*.py"))
    return sha256_hex("\n".join(f"{path} {sha256_hex(module.read_bytes())}" for path, module in modules).encode())[:16]


def commit_of(root: Path) -> str | None:
    """The commit that a checkout stands at; None for what is no checkout, or one whose files say nothing we know."""
    try:
        folder = root / ".git"
        if folder.is_file():  # a worktree of its own
            folder = root / folder.read_text().removeprefix("gitdir:").strip()
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        shared = folder / "commondir"
        common = (folder / shared.read_text().strip()) if shared.exists() else folder
        if (common / name).exists():
            return (common / name).read_text().strip()
        packed = (common / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return UNKNOWN


def _blas(library: dict[str, str]) -> str:
    return f"{library['internal_api']} {library.get('version') or 'of unknown version'}"
