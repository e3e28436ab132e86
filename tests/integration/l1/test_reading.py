"""Everything that is read of L1 comes from a real anvil, through our own contracts, and is proven by hashes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from anvil_l1 import BATCHER, NOBODY, OWNER, WALLET, Anvil, RollupOnL1, calldata
from eth_abi import encode

from plait.crypto.ordered_trie import EMPTY_ROOT
from plait.derivation.attributes import Deposit, user_deposit_source_hash
from plait.derivation.deposits import deposit_of_log
from plait.derivation.system_config import SystemConfig, apply_update
from plait.errors import L1Refused
from plait.l1.client import L1Client
from plait.l1.facts import block_facts
from plait.l1.fees import DEVELOPMENT_SCHEDULE
from plait.l1.receipts import logs_of
from plait.types import Address, Gas, Wei

pytestmark = pytest.mark.node_js


async def newest_facts(client: L1Client, *rollups: RollupOnL1):
    header = await client.header("latest")
    assert header is not None
    receipts = await client.receipts(header)
    facts, malformed = block_facts(
        header, logs_of(receipts), [rollup.config for rollup in rollups], DEVELOPMENT_SCHEDULE
    )
    assert malformed == ()
    return facts


async def test_deposits_of_one_block_come_in_log_order_to_their_own_rollup(anvil: Anvil, client: L1Client) -> None:
    first, second = RollupOnL1(anvil, 901), RollupOnL1(anvil, 902)
    first.deposit(mint=5 * 10**18, value=3 * 10**18, data=b"hello")
    second.deposit(value=0, data=bytes(64), gas=200_000)
    first.deposit(to=bytes(20), gas=300_000)
    anvil.mine()
    facts = await newest_facts(client, second, first)
    assert [one.rollup_id for one in facts.rollups] == [901, 902]
    ours, theirs = facts.rollups
    wallet = Address(bytes.fromhex(WALLET[2:]))
    expected = [
        Deposit(
            source_hash=user_deposit_source_hash(facts.hash, 0), sender=wallet, to=NOBODY, mint=Wei(5 * 10**18),
            value=Wei(3 * 10**18), gas_limit=Gas(100_000), data=b"hello",
        ),
        Deposit(
            source_hash=user_deposit_source_hash(facts.hash, 2), sender=wallet, to=Address(bytes(20)),
            gas_limit=Gas(300_000),
        ),
    ]  # fmt: skip
    assert ours.deposits == tuple(one.encode() for one in expected)
    assert len(theirs.deposits) == 1
    logs = logs_of(await client.receipts(await client.header("latest")))
    assert deposit_of_log(logs[1], facts.hash).source_hash == user_deposit_source_hash(facts.hash, 1)


async def test_a_reverted_deposit_is_none_and_its_place_is_not_counted(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    refused = rollup.deposit(gas=1)  # below the portal's minimum
    rollup.deposit(gas=100_000)
    anvil.mine()
    assert anvil.receipt(refused)["status"] == "0x0"
    facts = await newest_facts(client, rollup)
    assert len(facts.rollups[0].deposits) == 1
    assert user_deposit_source_hash(facts.hash, 0) in facts.rollups[0].deposits[0]


async def test_every_update_of_the_system_configuration_arrives(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.configure("setBatcherHash(address)", OWNER)
    rollup.configure("setGasConfigEcotone(uint32,uint32)", 7, 11)
    rollup.configure("setGasLimit(uint64)", 40_000_000)
    rollup.configure("setUnsafeBlockSigner(address)", WALLET)
    rollup.configure("setEIP1559Params(uint32,uint32)", 100, 4)
    rollup.configure("setOperatorFeeScalars(uint32,uint64)", 5, 6)
    rollup.configure("setMinBaseFee(uint64)", 77)
    rollup.configure("setDAFootprintGasScalar(uint16)", 500)
    anvil.mine()
    facts = await newest_facts(client, rollup)
    updates = facts.rollups[0].updates
    assert len(updates) == 7, "the unsafe block signer is none of derivation's business"
    system = rollup.config.genesis_system
    for update in updates:
        system = apply_update(system, update)
    assert system == SystemConfig(
        batcher=Address(bytes.fromhex(OWNER[2:])), gas_limit=Gas(40_000_000), base_fee_scalar=7,
        blob_base_fee_scalar=11, eip1559_denominator=100, eip1559_elasticity=4, operator_fee_scalar=5,
        operator_fee_constant=6, min_base_fee=77, da_footprint_gas_scalar=500,
    )  # fmt: skip


async def test_what_happened_up_to_a_rollups_genesis_is_not_told_again(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    header = await client.header(rollup.config.genesis_l1.number)
    assert header is not None
    logs = logs_of(await client.receipts(header))
    assert logs, "the contract says its first configuration in the block that is the genesis"
    facts, _ = block_facts(header, logs, [rollup.config], DEVELOPMENT_SCHEDULE)
    assert facts.rollups == ()


async def test_headers_follow_each_other_and_transactions_are_proven(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(7)
    anvil.call("anvil_setBalance", "0x" + BATCHER.hex(), hex(10**18))
    sent = anvil.send(WALLET, "0x" + NOBODY.hex(), b"", 5)
    number = anvil.mine()
    headers = await client.headers(0, 50)
    assert [header.number for header in headers] == list(range(number + 1))
    assert all(after.parent_hash == before.hash for before, after in pairwise(headers))
    block = await client.block(headers[-1].hash)
    assert block is not None
    assert [one.hash.hex() for one in block.transactions] == [sent[2:]]
    assert block.transactions[0].sender() == bytes.fromhex(WALLET[2:])
    assert headers[1].receipts_root == EMPTY_ROOT
    assert await client.receipts(headers[1]) == ()
    assert await client.header(number + 1) is None
    assert await client.header(bytes(32)) is None


async def test_a_block_number_is_asked_for_and_no_other_is_taken(anvil: Anvil, client: L1Client) -> None:
    anvil.mine(2)
    fees = await client.fees()
    assert fees.base_fee > 0
    assert fees.blob_base_fee >= 1
    assert await client.chain_id() == 900
    assert await client.nonce(Address(BATCHER)) == 0
    assert await client.balance(Address(BATCHER)) > 0
    proof = await client.proof(Address(BATCHER), [bytes(32)], 1)
    assert proof["accountProof"]


async def test_a_node_that_refuses_a_transaction_is_quoted(anvil: Anvil, client: L1Client) -> None:
    with pytest.raises(L1Refused) as refused:
        await client.send_raw_transaction(b"\x02\xc0")
    assert refused.value.code == "l1_call_refused"
    assert refused.value.fields["reason"]


async def test_a_portal_that_is_no_portal_is_named_and_stops_no_other_rollup(anvil: Anvil, client: L1Client) -> None:
    good, broken = RollupOnL1(anvil, 901), RollupOnL1(anvil, 902)
    # a contract that emits TransactionDeposited with version 1: PUSH topics, LOG4 over memory
    topics = [bytes(31) + b"\x01", bytes(32), bytes(32), _event_topic()]
    code = b"".join(b"\x7f" + topic for topic in topics) + bytes.fromhex("60606000a400")
    anvil.call("anvil_setCode", broken.portal, "0x" + code.hex())
    good.deposit()
    anvil.send(WALLET, broken.portal, b"")
    anvil.mine()
    header = await client.header("latest")
    assert header is not None
    facts, malformed = block_facts(
        header, logs_of(await client.receipts(header)), [good.config, broken.config], DEVELOPMENT_SCHEDULE
    )
    assert [one.rollup_id for one in facts.rollups] == [901]
    assert len(malformed) == 1
    assert "version" in malformed[0].reason


def _event_topic() -> bytes:
    from plait.derivation.deposits import TRANSACTION_DEPOSITED

    return TRANSACTION_DEPOSITED


async def test_a_plain_transfer_to_the_portal_is_a_deposit(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    anvil.send(WALLET, rollup.portal, b"", 10**18)
    anvil.mine()
    facts = await newest_facts(client, rollup)
    assert len(facts.rollups[0].deposits) == 1


def test_calldata_is_what_the_contract_reads() -> None:
    assert calldata("setGasLimit(uint64)", 5)[4:] == encode(["uint64"], [5])


async def test_what_no_hash_proves_is_still_answered_for_displays(anvil: Anvil, client: L1Client) -> None:
    rollup = RollupOnL1(anvil, 901)
    rollup.deposit()
    anvil.mine()
    header = await client.header("latest")
    assert header is not None
    logs = await client.logs(header.hash, [rollup.config.deposit_contract], _event_topic())
    assert len(logs) == 1
    assert await client.code(rollup.config.deposit_contract)
    limit = await client.eth_call(rollup.config.system_config_contract, calldata("gasLimit()"))
    assert int.from_bytes(limit) == 30_000_000
    with pytest.raises(L1Refused) as reverted:
        await client.eth_call(rollup.config.system_config_contract, calldata("setGasLimit(uint64)", 1))
    assert reverted.value.code == "l1_call_refused"
    latest, safe, finalized = await client.heads()
    assert latest == header
    assert safe is not None
    assert finalized is not None
