"""The files that pages load from here; nothing ever comes from elsewhere."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from interfaces.dashboard.page import HOME


def read(name: str) -> bytes:
    """A file of this folder."""
    return files("interfaces.dashboard").joinpath(name).read_bytes()


ASSETS: Mapping[str, tuple[bytes, str]] = {
    "page.css": (read("page.css"), "text/css; charset=utf-8"),
    "controls.css": (read("controls.css"), "text/css; charset=utf-8"),
    "page.js": (read("page.js"), "text/javascript; charset=utf-8"),
}
# A new version has another address, so that a browser may keep each for ever.
ASSETS_AT = f"{HOME}assets/{sha256(b''.join(content for content, _ in ASSETS.values())).hexdigest()[:12]}"
