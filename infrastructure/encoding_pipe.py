"""A file that is no file: what libraries write into it is taken out at the other end."""

import io


class Pipe(io.BytesIO):
    """Holds what was written since it was last taken."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    def tell(self) -> int:
        """How much was written in all."""
        return self._taken + super().tell()

    def take(self) -> bytes:
        """What was written since."""
        part = self.getvalue()
        self._taken += len(part)
        self.seek(0)
        self.truncate()
        return part

    def close(self) -> None:
        """Writers close what they write to; what is in it is still to be taken."""
