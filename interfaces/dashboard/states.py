"""What a view says when there is nothing to show, or when it can't be shown."""

from markupsafe import Markup

from domain.errors import Conflict, NotAllowed, NotAuthenticated, NotFound, ProviderFailed, Rejected, Unavailable

STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (Rejected, 400),
    (NotAuthenticated, 401),
    (NotAllowed, 403),
    (NotFound, 404),
    (Conflict, 409),
    (ProviderFailed, 502),
    (Unavailable, 503),
)


def status_of(error: Exception) -> int:
    """The HTTP status of a page that shows this error."""
    return next((status for family, status in STATUSES if isinstance(error, family)), 500)


def failure(error: Exception) -> Markup:
    """An error in its own words, which say what to do; nothing is taken for markup."""
    return Markup('<p class="failure" role="alert">{}</p>').format(str(error))


def empty(what: str, hint: str | Markup = "") -> Markup:
    """That nothing is there, and how something gets there."""
    return Markup('<div class="empty"><p>{}</p><p class="note">{}</p></div>').format(what, hint)
