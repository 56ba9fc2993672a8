"""Tokens from the command line: shown once, listed, taken back."""

import json

from tests.conftest import Database
from tests.interfaces.cli.conftest import Study


def test_a_token_is_shown_once_and_listed_without_it(study_here: Study, database: Database) -> None:
    issued = study_here("token", "issue", "--name", "ada", "--scope", "write")
    assert issued.code == 0
    token = issued.out.strip()
    assert token.startswith("sq_")
    assert "not shown again" in issued.err
    ci = study_here("token", "issue", "--name", "ci", "--scope", "read", "--expires", "90d", "--json").document
    assert (ci["name"], ci["scope"], ci["token"][:3]) == ("ci", "read", "sq_")
    listed = study_here("token", "list")
    assert "ada" in listed.out
    assert token not in listed.out
    events = study_here("events", "--kind", "token", "--json")
    assert [event["event"] for event in events.document["items"]] == ["token.issued.v1"] * 2
    assert token not in events.out

    assert study_here("token", "revoke", "ada").out == "Revoked ada.\n"
    tokens = study_here("token", "list", "--json").document["items"]
    assert [(each["name"], each["status"]) for each in tokens] == [("ci", "issued"), ("ada", "revoked")]
    as_of = study_here("token", "list", "--as-of", str(ci["position"]), "--json").document["items"]
    assert [each["status"] for each in as_of] == ["issued", "issued"]


def test_what_can_not_be_issued_or_revoked_is_told(study_here: Study) -> None:
    study_here("token", "issue", "--name", "ci", "--scope", "read")
    for words, code, told in (
        (("issue", "--name", "ci", "--scope", "read"), 2, "revoke it first"),
        (("issue", "--name", "a b", "--scope", "read"), 2, "letters"),
        (("issue", "--name", "x", "--scope", "read", "--expires", "soon"), 2, "90d"),
        (("issue", "--name", "x", "--scope", "read", "--expires", "2020-01-01"), 2, "passed"),
        (("revoke", "nobody"), 3, "no token"),
    ):
        ran = study_here("token", *words, "--json")
        assert (ran.code, told in json.loads(ran.out)["detail"]) == (code, True), words
