"""Machine code is kept between processes, until what it is made of has changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import domain

PART = """
from domain.clustering.compilation import part_of_kernels

NUMBER = {number}.0

@part_of_kernels
def add(x):
    return x + NUMBER
"""
KERNEL = """
from domain.clustering.compilation import compiled
from domain.clustering.made_up_part import add

@compiled("float64(float64)")
def kernel(x):
    return add(x)
"""
ASK = """
from domain.clustering.made_up_kernel import kernel
(hits,) = kernel.stats.cache_hits.values() or (0,)
print(kernel(1.0), hits)
"""


def test_a_kernel_is_kept_until_a_part_in_another_file_changes(tmp_path: Path) -> None:
    folder = tmp_path / "domain" / "clustering"
    source = Path(domain.__file__).parent
    folder.mkdir(parents=True)
    (tmp_path / "domain" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    shutil.copy(source / "clustering" / "compilation.py", folder)
    (folder / "made_up_kernel.py").write_text(KERNEL, encoding="utf-8")

    def ask(number: int) -> str:
        (folder / "made_up_part.py").write_text(PART.format(number=number), encoding="utf-8")
        command = [sys.executable, "-B", "-c", ASK]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    assert ask(1) == "2.0 0"
    assert ask(1) == "2.0 1"
    assert ask(2) == "3.0 0"
    assert ask(2) == "3.0 1"
