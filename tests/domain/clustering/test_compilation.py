"""Machine code is kept by the file that a kernel is in: what it is made of must not lie in another one."""

import ast
from pathlib import Path

import domain.clustering

FOLDER = Path(domain.clustering.__file__).parent
NAMES_OF_TYPES = {"Vectors", "Doubles", "Labels"}


def imports(file: Path) -> dict[str, set[str]]:
    return {
        node.module: {name.name for name in node.names}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("domain.")
    }


def test_kernels_take_no_part_and_no_constant_from_another_file() -> None:
    kernels = [file for file in FOLDER.glob("*.py") if "@compiled(" in file.read_text(encoding="utf-8")]
    assert len(kernels) >= 5
    for file in kernels:
        taken = imports(file)
        taken.pop("domain.clustering.compilation")
        assert set().union(*taken.values()) <= NAMES_OF_TYPES, file.name
