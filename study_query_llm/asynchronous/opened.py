"""What every part of an open study stands on."""

from interfaces.study import Study


class Opened:
    """An open study."""

    def __init__(self, wired: Study) -> None:
        self._wired = wired
