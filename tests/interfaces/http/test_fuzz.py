"""Whatever is asked of the document's operations, the answer is one that the document tells of."""

import httpx

from tests.interfaces.http.fuzz import cases_of, fuzz


def test_right_and_wrong_requests_are_answered_as_documented(reader: httpx.Client) -> None:
    code, said = fuzz(str(reader.base_url).rstrip("/"), phases="examples,fuzzing", examples=2, seed=1)
    assert code == 0, said
    assert cases_of(said) > 50
