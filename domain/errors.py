"""What can go wrong, in families: each interface turns a family into one status or exit code."""


class StudyError(Exception):
    """Base of every error this project raises on purpose; its text says who, what and what to do."""


class Rejected(StudyError):
    """The input is wrong; `fields` names the places at fault."""

    def __init__(self, message: str, *, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.fields = fields


class NotFound(StudyError):
    """No such thing; the text says what was looked for."""


class Conflict(StudyError):
    """What was asked contradicts what is already recorded; `existing_id` names it when there is one."""

    def __init__(self, message: str, *, existing_id: str | None = None) -> None:
        super().__init__(message)
        self.existing_id = existing_id


class ProviderFailed(StudyError):
    """A provider's final failure; it is recorded under `call_id`.

    kind: what went wrong, as AttemptError says it; fields: the parts of the input that were refused; position: where
    it is stored, None for what waits in the journal or is another's call
    """

    def __init__(
        self,
        message: str,
        *,
        call_id: str,
        kind: str | None = None,
        http_status: int | None = None,
        fields: tuple[str, ...] = (),
        position: int | None = None,
    ) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.kind = kind
        self.http_status = http_status
        self.fields = fields
        self.position = position


class NotAuthenticated(StudyError):
    """Nobody knows who asks; `presented` says whether they came with something that is not known."""

    def __init__(self, message: str, *, presented: bool = False) -> None:
        super().__init__(message)
        self.presented = presented


class NotAllowed(StudyError):
    """Who asks may not; `needed` is the scope that would do, if one would."""

    def __init__(self, message: str, *, needed: str | None = None) -> None:
        super().__init__(message)
        self.needed = needed


class TooMany(StudyError):
    """Who asks has asked too much just now."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(StudyError):
    """The store can't be reached or written just now; trying again later may work."""
