"""Failures of the store are answered without the words of its engine."""

import pytest

from plait.native import NativeError
from plait.rpc.errors import INTERNAL_ERROR, of_exception


@pytest.mark.parametrize("code", ["store_engine", "store_io", "store_corrupt"])
def test_a_damaged_store_is_named_but_not_quoted(code: str) -> None:
    error = NativeError("block store: FjallError: Storage(ChecksumMismatch { got: Checksum(535) })")
    error.code = code
    answer = of_exception(error)
    assert (answer.number, answer.data) == (INTERNAL_ERROR, {"code": code})
    assert "Fjall" not in answer.message
    assert "Checksum" not in answer.message
