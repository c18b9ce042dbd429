from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from urllib.parse import parse_qs, urlsplit

import pytest

from aries_nb.sim.aries.oauth import OAuthError, OAuthServer, OAuthSettings

NOW = 1_772_463_845.0
URI = "http://127.0.0.1:8123/callback"
VERIFIER = "a-verifier-that-is-forty-three-letters-long-or-more"
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CLIENT = {"client_id": "sim-client", "client_secret": "sim-secret"}
PUBLIC = {"client_id": "sim-client"}
PKCE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


def redirected(server: OAuthServer, now: float = NOW, **more: str) -> dict[str, str]:
    asked = {"response_type": "code", "client_id": "sim-client", "redirect_uri": URI, "state": "s&1", **more}
    location = server.authorize(asked, now)
    assert location.startswith(URI)
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def redeem(server: OAuthServer, code: str, now: float = NOW, **fields: str) -> dict[str, object]:
    return server.token({"grant_type": "authorization_code", "code": code, "redirect_uri": URI, **fields}, now)


def refusal(server: OAuthServer, fields: dict[str, str], now: float = NOW) -> tuple[int, str]:
    with pytest.raises(OAuthError) as caught:
        server.token(fields, now)
    return caught.value.status, caught.value.name


def test_code_comes_back_with_the_state_and_gives_both_tokens() -> None:
    server = OAuthServer()
    back = redirected(server, scope="market:information")

    answer = redeem(server, back["code"], **CLIENT)

    assert back["state"] == "s&1"
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3600
    assert answer["refresh_token_expires_in"] == 2_592_000
    assert answer["scope"] == "market:information"
    assert server.is_valid(str(answer["access_token"]), NOW)


def test_code_is_used_once() -> None:
    server = OAuthServer()
    code = redirected(server)["code"]
    redeem(server, code, **CLIENT)

    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(server, code, **CLIENT)


def test_code_lives_ten_minutes() -> None:
    server = OAuthServer()
    first, second = redirected(server)["code"], redirected(server)["code"]

    assert redeem(server, first, NOW + 599, **CLIENT)["access_token"]
    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(server, second, NOW + 600, **CLIENT)


def test_pkce_needs_no_secret_but_the_right_verifier() -> None:
    server = OAuthServer()
    good, bad, none = (redirected(server, **PKCE)["code"] for _ in range(3))

    answer = redeem(server, good, code_verifier=VERIFIER, **PUBLIC)

    assert server.is_valid(str(answer["access_token"]), NOW)
    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(server, bad, code_verifier="x" * 43, **PUBLIC)
    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(server, none, **CLIENT)


def test_verifier_without_a_challenge_is_refused() -> None:
    server = OAuthServer()

    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(server, redirected(server)["code"], code_verifier=VERIFIER, **CLIENT)


def test_code_without_challenge_needs_the_secret() -> None:
    server = OAuthServer()

    with pytest.raises(OAuthError, match="invalid_client"):
        redeem(server, redirected(server)["code"], **PUBLIC)


def test_code_is_bound_to_its_redirect_uri() -> None:
    server = OAuthServer()
    code = redirected(server)["code"]

    with pytest.raises(OAuthError, match="invalid_grant"):
        redeem(server, code, **CLIENT, redirect_uri=f"{URI}/other")


def test_plain_challenge_is_sent_back_as_an_error() -> None:
    back = redirected(OAuthServer(), code_challenge="x", code_challenge_method="plain")

    assert back["error"] == "invalid_request"
    assert back["state"] == "s&1"


def test_other_response_type_is_sent_back_as_an_error() -> None:
    assert redirected(OAuthServer(), response_type="token")["error"] == "unsupported_response_type"


@pytest.mark.parametrize(
    "uri", ["https://evil.example/cb", "http://127.0.0.1.evil.example/", "//127.0.0.1/", "http://[broken", ""]
)
def test_no_redirect_leaves_the_machine(uri: str) -> None:
    asked = {"response_type": "code", "client_id": "sim-client", "redirect_uri": uri}

    with pytest.raises(OAuthError, match="invalid_request"):
        OAuthServer().authorize(asked, NOW)


def test_registered_redirect_uri_must_be_met_exactly() -> None:
    server = OAuthServer(OAuthSettings(redirect_uri="https://app.example/cb?x=1"))
    asked = {"response_type": "code", "client_id": "sim-client", "redirect_uri": "https://app.example/cb?x=1"}

    assert server.authorize(asked, NOW).startswith("https://app.example/cb?x=1&code=")
    with pytest.raises(OAuthError, match="invalid_request"):
        server.authorize({**asked, "redirect_uri": URI}, NOW)


def test_refresh_gives_a_new_pair_and_the_old_refresh_token_is_refused() -> None:
    server = OAuthServer()
    first = redeem(server, redirected(server)["code"], **CLIENT)
    fields = {"grant_type": "refresh_token", "refresh_token": str(first["refresh_token"]), **CLIENT}

    second = server.token(fields, NOW + 3000)

    assert second["refresh_token"] != first["refresh_token"]
    assert server.is_valid(str(second["access_token"]), NOW + 6000)
    assert refusal(server, fields, NOW + 3001) == (400, "invalid_grant")


def test_refresh_without_secret_is_for_public_clients_only() -> None:
    server = OAuthServer()
    private = redeem(server, redirected(server)["code"], **CLIENT)
    public = redeem(server, redirected(server, **PKCE)["code"], code_verifier=VERIFIER, **PUBLIC)

    def fields(pair: dict[str, object]) -> dict[str, str]:
        return {"grant_type": "refresh_token", "refresh_token": str(pair["refresh_token"]), **PUBLIC}

    assert server.token(fields(public), NOW)["access_token"]
    assert refusal(server, fields(private)) == (401, "invalid_client")


def test_client_credentials_give_no_refresh_token() -> None:
    server = OAuthServer()

    answer = server.token({"grant_type": "client_credentials", **CLIENT}, NOW)

    assert "refresh_token" not in answer
    assert server.is_valid(str(answer["access_token"]), NOW)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (401, "invalid_client")),
        ({**PUBLIC}, (400, "invalid_request")),
        ({**PUBLIC, "client_secret": "wrong", "grant_type": "client_credentials"}, (401, "invalid_client")),
        ({**PUBLIC, "grant_type": "client_credentials"}, (401, "invalid_client")),
        ({**CLIENT, "grant_type": "password"}, (400, "unsupported_grant_type")),
        ({**CLIENT, "grant_type": "refresh_token"}, (400, "invalid_grant")),
        ({**CLIENT, "grant_type": "authorization_code"}, (400, "invalid_grant")),
    ],
)
def test_refusals_have_the_names_of_the_standard(fields: dict[str, str], expected: tuple[int, str]) -> None:
    assert refusal(OAuthServer(), fields) == expected


def test_issued_token_ends_at_its_expiry_even_where_any_other_text_is_accepted() -> None:
    server = OAuthServer(OAuthSettings(access_seconds=10))
    token = str(server.token({"grant_type": "client_credentials", **CLIENT}, NOW)["access_token"])

    assert server.is_valid(token, NOW + 9.9)
    assert not server.is_valid(token, NOW + 10)
    server.token({"grant_type": "client_credentials", **CLIENT}, NOW + 3600)
    assert not server.is_valid(token, NOW + 3600)
    assert server.is_valid("anything", NOW)
    assert not server.is_valid(" ", NOW)


def test_fixed_token_is_accepted_in_addition_to_issued_ones_only() -> None:
    server = OAuthServer(token="fixed")
    issued = str(server.token({"grant_type": "client_credentials", **CLIENT}, NOW)["access_token"])

    assert [server.is_valid(token, NOW) for token in ("fixed", issued, "other")] == [True, True, False]


def test_no_secret_or_token_in_any_repr() -> None:
    server = OAuthServer(token="fixed-token")
    answer = redeem(server, redirected(server)["code"], **CLIENT)

    text = f"{server!r} {server.settings!r} {vars(server)['_access'].values()!r}"

    assert "sim-secret" not in text
    assert "fixed-token" not in text
    assert str(answer["access_token"]) not in text
