"""CSV for spreadsheets.

They take a text such as `=HYPERLINK(…)` for a formula, and what a model answered is nobody's to trust.
"""

FORMULAS = tuple("=+-@\t\r\n＝＋－＠")
MARK = "\ufeff".encode()  # at the beginning of a file, by which they know that it is UTF-8


def harmless(text: str) -> str:
    """The text, with an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(FORMULAS) else text
