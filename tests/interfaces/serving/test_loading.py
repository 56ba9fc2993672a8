"""What a server holds in memory that nobody has asked it for yet."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("bokeh", "panel", "pandas", "pyarrow", "scipy", "numba", "openai", "numpy.random", "httpx", "websockets")


def test_a_server_loads_nothing_heavy_before_it_is_needed() -> None:
    code = (
        "import sys, interfaces.serving.__main__, interfaces.http.app, interfaces.serving.doorkeeper; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
