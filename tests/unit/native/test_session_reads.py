"""A session's own reads see what it ran and forget what it undid; signers are recovered as eth-account signs."""

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from plait.mempool.bundles import signer_of
from plait.native import keccak256, recover_signer
from plait.types import Milliseconds
from sim.pooling import USERS, PooledNetwork
from sim.workload import STORING_CODE

CREATED_BY_FIRST = keccak256(b"\xd6\x94" + USERS[0].address + b"\x80")[12:]
"""Yellow Paper, 7: keccak(rlp([sender, 0]))[12:]."""


def test_storage_is_read_where_the_session_stands() -> None:
    network = PooledNetwork(USERS)
    session = network.rollup().session()
    assert session.storage(CREATED_BY_FIRST, bytes(32)) == bytes(32)
    mark = session.checkpoint()
    raw = USERS[0].sign_1559(901, 0, data=STORING_CODE, gas_limit=120_000)
    ((ready,),) = network.foreign([raw])[901]
    assert session.run([ready.transaction]).statuses == b"\1"
    assert session.storage(CREATED_BY_FIRST, bytes(32)) == (42).to_bytes(32, "big")
    assert session.fork().storage(CREATED_BY_FIRST, bytes(32)) == (42).to_bytes(32, "big")
    session.rollback(mark)
    assert session.storage(CREATED_BY_FIRST, bytes(32)) == bytes(32)
    assert network.time_ms > Milliseconds(0)


@pytest.mark.parametrize(("address", "slot"), [(bytes(19), bytes(32)), (bytes(20), bytes(31)), (b"", b"")])
def test_storage_of_no_address_or_slot(address: bytes, slot: bytes) -> None:
    session = PooledNetwork(USERS).rollup().session()
    with pytest.raises(ValueError, match="bytes"):
        session.storage(address, slot)


def test_a_signer_is_recovered_and_nothing_else_is() -> None:
    key = b"\x42" * 32
    address = bytes.fromhex(Account.from_key(key).address[2:])
    signature = bytes(Account.sign_message(encode_defunct(text="Plait"), key).signature)
    assert signer_of("Plait", signature) == address
    assert signer_of("plait", signature) != address
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    twin = signature[:32] + high + bytes([55 - signature[64]])
    assert signer_of("Plait", twin) is None, "the same signature with a high s (EIP-2)"
    for bad in (b"", bytes(64), bytes(65), bytes(66), b"\xff" * 65):
        assert recover_signer(bytes(32), bad) is None
    with pytest.raises(ValueError, match="32 bytes"):
        recover_signer(b"", signature)
