"""A signed body that is JSON but not UTF-8 is refused by its code, as any other that says nothing of its label.

It used to raise UnicodeDecodeError, which is none of msgspec's errors: CheckTx of a stranger's batch ended in a logged
traceback, its entries were not passed on and nothing was charged to the bound on refused entries.
"""

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.codec.batch import LabelRequest
from plait.errors import BundleRefused
from plait.mempool.label_requests import label_of
from plait.native import keccak256
from plait.types import RollupId


@pytest.mark.parametrize(
    "body",
    [
        b'{"method":"\xed\xa0\x80"}',
        b'{"method":"eth_sendBundle","params":[{"replacementUuid":"\xff"}]}',
        b'[{"method":"eth_sendBundle","params":[{"replacementUuid":"a","txs":["\xc3\x28"]}]}]',
    ],
)
@pytest.mark.parametrize("transactions", [None, (b"\x02",)])
def test_a_signed_body_that_is_not_utf8_is_refused_by_its_code(
    body: bytes, transactions: tuple[bytes, ...] | None
) -> None:
    text = body.replace(b"eth_sendBundle", b"eth_cancelBundle") if transactions is None else body
    signed = Account.sign_message(encode_defunct(text="0x" + keccak256(text).hex()), "0x" + "11" * 32)
    request = LabelRequest(label="a", body=text, signature=bytes(signed.signature))
    with pytest.raises(BundleRefused) as refused:
        label_of(request, RollupId(901), transactions)
    assert refused.value.code == "request_mismatch"
