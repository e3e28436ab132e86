"""What the registry's checkpoints prove is what the network's own encodings say, and nothing else can be proven."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from contracts_l1 import L1
from sub_blocks import BEGAN_S, ROLLUPS, Chain, account, ledger
from validators import ACCOUNTS_SHAPE, Registry, checksummed, members, signed

from plait.crypto.merkle import inclusion_proof
from plait.l1.contract_proofs import AccountProof, Place, SubBlockProof, account_proof, as_abi, ledger_shape, place_of
from plait.ledger.encoding import ledger_leaves, ledger_root
from plait.types import Height, RollupId

pytestmark = pytest.mark.node_js

APP = b"\x11" * 32


def text(l1: L1, address: bytes) -> str:
    return str(l1.web3.to_checksum_address("0x" + address.hex()))


def committed(l1: L1, chain: Chain, height: int) -> Registry:
    """A registry with a checkpoint of the chain at a height."""
    registry = Registry(l1)
    l1.send(
        registry.checkpoint(height, chain.made[height - 1].app_hash),
        what="PlaitRegistry.commitCheckpoint, 4 validators",
    )
    return registry


def test_accounts_lie_where_the_registry_is_told() -> None:
    """The shape that the other tests deploy with is this version's of the ledger."""
    assert msgspec.structs.astuple(ledger_shape(ledger({account(1): 1}))) == ACCOUNTS_SHAPE


def test_a_checkpoint_proves_sub_blocks_back_to_the_first(l1: L1) -> None:
    """Height, time, app hash and ledger root of every earlier sub-block follow from one checkpoint."""
    chain = Chain(ledger({account(1): 5}))
    for number in range(1, 9):
        chain.add(time_ms=BEGAN_S * 1_000 + 250 * number)
    registry = committed(l1, chain, 8)
    for height in range(1, 9):
        found = registry.functions.verifySubBlock(as_abi(chain.proof(8, height))).call()
        wanted = [height, BEGAN_S * 1_000 + 250 * height, chain.made[height - 1].app_hash, ledger_root(chain.state)]
        assert found == wanted


def test_headers_that_do_not_follow_are_refused(l1: L1) -> None:
    """No header, one left out, one of another chain, one altered, one of another network, an unknown height."""
    chain, other = Chain(ledger({account(1): 5})), Chain(ledger({account(1): 6}))
    for _ in range(4):
        chain.add()
        other.add()
    registry = committed(l1, chain, 4)
    right = chain.proof(4, 2)

    def error(headers: tuple[bytes, ...], checkpoint: int = 4) -> str:
        call = registry.functions.verifySubBlock(as_abi(SubBlockProof(Height(checkpoint), headers)))
        return l1.reason(call)[0]

    assert error(()) == "NoHeaders"
    assert error(right.headers, 3) == "CheckpointUnknown"
    assert error((right.headers[0], right.headers[2])) == "HeaderWrong"
    assert error((*right.headers[:2], other.made[1].header)) == "HeaderWrong"
    for at in range(0, len(right.headers[0]), 7):
        altered = bytearray(right.headers[0])
        altered[at] ^= 1
        call = registry.functions.verifySubBlock(as_abi(SubBlockProof(Height(4), (bytes(altered),))))
        assert l1.reason(call)  # asserts that the call fails
    assert error((right.headers[0] + b"\x00",)) != ""
    foreign = Chain(ledger({account(1): 5}), network_id=78)
    foreign.add()
    l1.send(registry.checkpoint(1, foreign.made[0].app_hash))
    call = registry.functions.verifySubBlock(as_abi(foreign.proof(1, 1)))
    assert l1.reason(call)[0] == "NetworkWrong"


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 33])
def test_items_are_proven_at_their_place(l1: L1, count: int) -> None:
    """Every item of a rollup is proven at its place; not at another, not for another rollup, not another item."""
    items = [b"item %d" % at * (at + 1) for at in range(count)]
    chain = Chain(ledger({account(1): 5}))
    chain.add(items={ROLLUPS[1]: items})
    registry = committed(l1, chain, 1)
    where = as_abi(chain.proof(1, 1))

    def proven(rollup_id: int, item: bytes, index: int, size: int, path: list[bytes]) -> bool:
        return bool(registry.functions.verifyItem(where, rollup_id, item, (index, size, path)).call())

    for index in random.Random(count).sample(range(count), min(count, 5)):
        path = [bytes(one) for one in inclusion_proof(items, index)]
        assert proven(ROLLUPS[1], items[index], index, count, path)
        assert not proven(ROLLUPS[1], items[index] + b"!", index, count, path)
        assert not proven(ROLLUPS[0], items[index], index, count, path)
        assert not proven(RollupId(999), items[index], index, count, path)
        assert not proven(RollupId(999), items[index], count, count, path)
        assert not proven(ROLLUPS[1], items[index], index, count, [*path, bytes(32)])
        assert not proven(ROLLUPS[1], items[index], count, count, path)
        if path:
            assert not proven(ROLLUPS[1], items[index], index ^ 1, count + 1, path)
            assert not proven(ROLLUPS[1], items[index], index, count, path[:-1])


def test_a_rollup_without_items_proves_none(l1: L1) -> None:
    """The empty tree has no leaf: neither an empty item nor an empty path proves one."""
    chain = Chain(ledger({account(1): 5}))
    chain.add()
    registry = committed(l1, chain, 1)
    for size in (0, 1, 2):
        call = registry.functions.verifyItem(as_abi(chain.proof(1, 1)), ROLLUPS[0], b"", (0, size, []))
        assert call.call() is False


def test_sealed_blocks_are_read_out_of_headers(l1: L1) -> None:
    """A block's hash is found where it was sealed, with the agreed time, and zero for all others."""
    sealed = [(901, [(7, b"\x07" * 32), (8, b"\x08" * 32)]), (905, [(1, b"\x01" * 32)])]
    chain = Chain(ledger({account(1): 5}))
    chain.add(sealed=sealed, time_ms=1_700_000_123_456)
    chain.add()
    registry = committed(l1, chain, 2)
    for rollup_id, number, wanted in (
        (901, 7, b"\x07" * 32),
        (901, 8, b"\x08" * 32),
        (905, 1, b"\x01" * 32),
        (901, 1, bytes(32)),
        (902, 7, bytes(32)),
        (905, 7, bytes(32)),
    ):
        found = registry.functions.verifySealedBlock(as_abi(chain.proof(2, 1)), rollup_id, number).call()
        assert found == [wanted, 1_700_000_123_456]
        later = registry.functions.verifySealedBlock(as_abi(chain.proof(2, 2)), rollup_id, number).call()
        assert later[0] == bytes(32)


def test_rollup_records_are_leaves_of_the_ledger(l1: L1) -> None:
    """Every leaf of the ledger is proven, so everybody can show a rollup's head and parameters on L1."""
    chain = Chain(ledger({account(1): 5}))
    chain.add()
    registry = committed(l1, chain, 1)
    leaves = ledger_leaves(chain.state)
    for index, leaf in enumerate(leaves):
        place = place_of(leaves, index)
        call = registry.functions.verifyLedgerLeaf
        assert call(as_abi(chain.proof(1, 1)), leaf, as_abi(place)).call()
        assert not call(as_abi(chain.proof(1, 1)), leaf + b"x", as_abi(place)).call()


@pytest.mark.parametrize("count", [1, 2, 32, 33, 700])
def test_accounts_are_proven_in_ledgers_of_every_size(l1: L1, count: int) -> None:
    """A bucket, a branch and branches of branches: balance and nonce of an account are the ledger's."""
    balances = {account(number): 10**18 + number for number in range(count)}
    chain = Chain(ledger(balances))
    chain.add()
    registry = committed(l1, chain, 1)
    rng = random.Random(count)
    for number in rng.sample(range(count), min(count, 4)):
        proof = account_proof(chain.state, account(number))
        call = registry.functions.verifyAccount(as_abi(chain.proof(1, 1)), text(l1, account(number)), as_abi(proof))
        assert call.call() == [10**18 + number, 0]
    assert count < 700 or len(proof.branch_paths) >= 2


def changes_of(proof: AccountProof, other: AccountProof) -> list[AccountProof]:
    """The proof with one part wrong each time."""
    replace = msgspec.structs.replace
    bucket = proof.bucket
    row = bytearray(proof.row)
    row[-2] ^= 1
    return [
        replace(proof, row=bytes(row)),
        replace(proof, row=other.row),
        replace(proof, bucket=Place(bucket.index + 1, bucket.count + 1, bucket.path)),
        replace(proof, bucket=Place(bucket.index, bucket.count, (*bucket.path, bytes(32)))),
        replace(proof, branch_paths=proof.branch_paths[1:]),
        replace(proof, branch_paths=(*proof.branch_paths, proof.branch_paths[0])),
        replace(proof, branch_paths=((bytes(32),) * 65,) * 65),
        replace(proof, economy_path=proof.economy_path[:-1]),
        replace(proof, economy_path=(bytes(32), *proof.economy_path[1:])),
        replace(proof, ledger_leaves=1),
        replace(proof, ledger_path=()),
    ]


def test_no_altered_account_proof_passes(l1: L1) -> None:
    """A wrong balance, another account's row, another place, a path cut or grown: refused, each."""
    chain = Chain(ledger({account(number): 10**18 + number for number in range(60)}))
    chain.add()
    registry = committed(l1, chain, 1)
    proof, other = (account_proof(chain.state, account(number)) for number in (1, 2))
    where = as_abi(chain.proof(1, 1))

    def call(found: AccountProof, number: int = 1) -> Any:
        return registry.functions.verifyAccount(where, text(l1, account(number)), as_abi(found))

    assert call(proof).call() == [10**18 + 1, 0]
    for changed in changes_of(proof, other):
        assert l1.reason(call(changed))[0] == "ProofWrong"
    assert l1.reason(call(proof, 2))[0] == "ProofWrong"
    assert l1.reason(call(other, 1))[0] == "ProofWrong"
    older = Chain(ledger({account(1): 7}))
    older.add()
    assert l1.reason(call(account_proof(older.state, account(1))))[0] == "ProofWrong"


def test_neighbours_in_a_bucket_are_not_each_other(l1: L1) -> None:
    """In a small ledger all rows share one bucket and every path fits: the row's own key decides."""
    chain = Chain(ledger({account(1): 7, account(2): 8}))
    chain.add()
    registry = committed(l1, chain, 1)
    proof = as_abi(account_proof(chain.state, account(1)))
    where = as_abi(chain.proof(1, 1))
    assert registry.functions.verifyAccount(where, text(l1, account(1)), proof).call() == [7, 0]
    for other in (account(2), account(3), bytes(20)):
        assert l1.reason(registry.functions.verifyAccount(where, text(l1, other), proof))[0] == "ProofWrong"


def test_the_same_checkpoint_twice_changes_nothing(l1: L1) -> None:
    """Whoever repeats a commitment pays for it and has no effect."""
    registry = Registry(l1)
    l1.send(registry.checkpoint(5, APP, [0, 1, 2]))
    assert l1.send(registry.checkpoint(5, APP, [1, 2, 3]))["logs"] == []
    assert registry.functions.appHashOf(5).call() == APP
    assert l1.refused(registry.checkpoint(5, bytes(32)))[0] == "AppHashZero"


def test_a_checkpoint_before_its_set_is_refused(l1: L1) -> None:
    """A set speaks for heights at which it acts."""
    registry = Registry(l1, height=100)
    assert l1.refused(registry.checkpoint(99, APP))[0] == "HeightBeforeSet"
    l1.send(registry.checkpoint(100, APP))


def test_two_checkpoints_of_a_height_halt_everything(l1: L1) -> None:
    """After a proven contradiction nothing is committed or proven until the timelock appoints a set; then the
    contradicted height is free."""
    chain = Chain(ledger({account(1): 5}))
    chain.add()
    registry = committed(l1, chain, 1)
    receipt = l1.send(registry.checkpoint(1, APP), what="PlaitRegistry.commitCheckpoint, a contradiction")
    (event,) = registry.contract.events.Halted().process_receipt(receipt)
    assert (event["args"]["height"], event["args"]["first"], event["args"]["second"]) == (
        1,
        chain.made[0].app_hash,
        APP,
    )
    assert registry.functions.conflictHeight().call() == 1
    assert l1.refused(registry.checkpoint(2, APP))[0] == "RegistryHalted"
    assert l1.refused(registry.update(registry.set, 5))[0] == "RegistryHalted"
    assert l1.reason(registry.functions.verifySubBlock(as_abi(chain.proof(1, 1))))[0] == "RegistryHalted"
    assert l1.reason(registry.functions.appHashOf(1))[0] == "RegistryHalted"
    after = members([1, 1, 1, 1], first=70)
    l1.send(registry.by_timelock("restart", checksummed(after, l1), 1))
    registry.set = after
    assert registry.functions.appHashOf(1).call() == bytes(32)
    l1.send(registry.checkpoint(1, chain.made[0].app_hash))
    assert registry.functions.verifySubBlock(as_abi(chain.proof(1, 1))).call()[0] == 1
    digest = registry.checkpoint_digest(2, APP, epoch=1)
    stale = registry.functions.commitCheckpoint(2, APP, registry.listed(), signed(after, digest))
    assert l1.refused(stale)[0] == "PowerTooLow"
