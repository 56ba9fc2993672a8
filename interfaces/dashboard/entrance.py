"""The way in: a token that is pasted once and kept in a cookie that no script reads. And the ways out, and home."""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FunctionLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from interfaces.dashboard.assets import ASSETS_AT, read
from interfaces.dashboard.documents import DOCUMENTS
from interfaces.dashboard.page import HOME

COOKIE = "study_token"
LONGEST_TOKEN = 512
LARGEST_FORM_BYTES = 16_384

_environment = Environment(autoescape=True, loader=FunctionLoader(lambda name: read(name).decode()))


def token_in(headers: dict[bytes, str]) -> str | None:
    """The token that comes with a request: in its cookie, or as a bearer's. None for none."""
    scheme, _, given = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        try:
            found = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
        except CookieError:
            found = None
        given = "" if found is None else found.value
    given = given.strip()
    return given if 0 < len(given) <= LONGEST_TOKEN else None


async def read_form(request: Request, largest_bytes: int = LARGEST_FORM_BYTES) -> dict[str, str]:
    """The fields of a small form; what is larger than any of ours counts as empty."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > largest_bytes:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def login_page(leads_to: str, *, wrong: bool = False) -> Response:
    """The form that asks for a token. It leads to where somebody wanted to go."""
    page = _page("login.html", leads_to=_inside(leads_to), wrong=wrong)
    return HTMLResponse(page, status_code=401)


def signed_in(request: Request, token: str, leads_to: str) -> Response:
    """The way on, with the token in a cookie that lives as long as the browser does."""
    answer = RedirectResponse(_inside(leads_to), status_code=303)
    # Behind a proxy with TLS only the browser knows that it speaks it, and says so in its Origin.
    secure = request.url.scheme == "https" or urlsplit(request.headers.get("origin", "")).scheme == "https"
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path=HOME)
    return answer


def signed_out() -> Response:
    """The way out: the browser forgets the token."""
    answer = RedirectResponse(HOME, status_code=303)
    answer.delete_cookie(COOKIE, path=HOME, httponly=True, samesite="strict")
    return answer


def nowhere() -> Response:
    """What an address shows that leads to nothing here: a way home, and nothing that only who signed in may see."""
    return HTMLResponse(_page("nowhere.html", home=HOME), status_code=404)


def _page(name: str, **shown: str | bool) -> str:
    """A page that stands outside of the notebook."""
    return _environment.get_template(name).render(assets=ASSETS_AT, **shown)


def _inside(address: str) -> str:
    """An address of the dashboard's own: nobody is sent elsewhere from here."""
    return address if address.startswith(tuple(f"{path}?" for path in (HOME, *DOCUMENTS))) else HOME
