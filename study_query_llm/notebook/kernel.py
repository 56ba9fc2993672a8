"""Whether this program is the kernel of a notebook."""

import sys


def in_a_notebook() -> bool:
    """True where what is displayed lands under a cell; nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None
