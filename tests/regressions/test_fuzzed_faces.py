"""Inputs that the fuzzer found: each was a traceback where an error answer belongs."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import msgspec
import pytest

from plait.rollups.opstack.faces.boost_engine import is_authorized
from plait.rollups.opstack.faces.json_rpc import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, answer, argument

SECRET = bytes(32)


async def echo(method: str, params: list[msgspec.Raw]) -> Any:
    return [argument(params, at, method) for at in range(len(params))]


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        (b'[{"jsonrpc":"2.0","id":1,"method":"x","params":["\xe9"]}]', [PARSE_ERROR]),
        (b'{"jsonrpc":"2.0","id":"\xe9","method":"x","params":[]}', [PARSE_ERROR]),
        (b'[{"jsonrpc":"\xb80","id":1,"method":"y","params":[]},{"jsonrpc":"2.0","id":2,"method":"y"}]', [PARSE_ERROR]),
        (b'[{"id":1,"method":5},{"id":2,"method":"y","params":[7]}]', [INVALID_REQUEST, None]),
        (b'[{"id":1,"method":"x","params":[' + b"[" * 900 + b"]" * 900 + b"]}]", [None]),
        (b'{"id":1,"method":"x","params":[' + b"[" * 90_000 + b"]" * 90_000 + b"]}", [PARSE_ERROR]),
        (b'{"id":1,"method":"x","params":5}', [INVALID_REQUEST]),
    ],
)
async def test_a_face_answers_every_body_with_json_rpc(body: bytes, numbers: list[int | None]) -> None:
    """What is nested deeper than Python reads may be refused as a parameter or as a whole."""
    found = json.loads(await answer(body, echo))
    listed = found if isinstance(found, list) else [found]
    deep = {INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, None}
    for one, number in zip(listed, numbers, strict=True):
        said = one.get("error", {}).get("code")
        assert said in deep if b"[[[" in body else said == number


def signed(claims: bytes, secret: bytes = SECRET) -> str:
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', claims))
    signature = base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")).rstrip(b"=")
    return f"Bearer {text.decode()}.{signature.decode()}"


@pytest.mark.parametrize(
    "claims",
    [b'{"iat":1' + b"0" * 400 + b"}", b'{"iat":"nan"}', b'{"iat":[]}', b"[]", b"{}", b"[" * 5_000, b'"\xe9"', b""],
)
def test_a_token_with_strange_claims_is_refused(claims: bytes) -> None:
    assert not is_authorized(signed(claims), SECRET, 5.0)
    assert not is_authorized(signed(claims, bytes(31) + b"\x01"), SECRET, 5.0)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ..", "Bearer \udcff.\udcff.\udcff", "Bearer é.é.é", "b a.b"]
)
def test_what_is_no_token_is_refused(header: str | None) -> None:
    """A server hands on header bytes that are not UTF-8 as surrogates."""
    assert not is_authorized(header, SECRET, 5.0)


def test_a_good_token_is_taken() -> None:
    assert is_authorized(signed(b'{"iat":5}'), SECRET, 5.0)
    assert not is_authorized(signed(b'{"iat":5}'), SECRET, 5_000.0)
