import pytest

from app.pages.signing import Signer


def test_a_token_says_what_was_signed_for_its_purpose_and_its_time() -> None:
    now = [1000.0]
    signer = Signer("a secret of the tests", clock=lambda: now[0])
    token = signer.sign("users", "7 アニメ", 60)

    assert signer.read("users", token) == "7 アニメ"
    assert signer.read("note", token) is None
    assert Signer("another secret").read("users", token) is None
    now[0] = 1061.0
    assert signer.read("users", token) is None


@pytest.mark.parametrize("token", [None, "", "..", "a.b.c", "YQ.9999999999.0", "é.1.2", "x" * 5000])
def test_what_is_no_token_says_nothing(token: str | None) -> None:
    assert Signer("a secret of the tests").read("users", token) is None
