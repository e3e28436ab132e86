"""Users, sponsors and relayers of RELAY_DESK and RELAY_FEES on the pair of rollups."""

from __future__ import annotations

from eth_abi import decode

from plait.interop.messages import CROSS_L2_INBOX, MESSENGER, RELAY_DESK, RELAY_FEES
from plait.interop.relay_fees import Claim, claim_of, decode_offer, is_delivered, offer_calldata
from plait.interop.relays import Relay, relays_of
from plait.interop.validity import refuse_execution
from plait.native import keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded.genesis import DETERMINISTIC_DEPLOYER
from plait.types import Address, Hash32
from sim.wallet import Wallet
from tests.unit.interop.pair import ALICE, RELAYER, SET, STRANGER, Executed, Pair, Side, calldata

WEEK_S = 604_800
MARGIN_S = 3_600
PROBE_CODE = artifact("RelayProbe").creation_code
PROBE = Address(keccak256(b"\xff" + bytes.fromhex(DETERMINISTIC_DEPLOYER) + bytes(32) + keccak256(PROBE_CODE))[12:])


def deploy_probe(side: Side) -> None:
    """The probe, at the same address on every rollup."""
    assert side.execute(ALICE, bytes.fromhex(DETERMINISTIC_DEPLOYER), bytes(32) + PROBE_CODE).status == 1


def probe(side: Side, target: bytes, data: bytes, *, value: int = 0, wallet: Wallet = ALICE) -> Executed:
    """Has the probe make a call, with this transaction's ether."""
    return side.execute(wallet, PROBE, calldata("run(address,bytes)", target, data), value=value)


def message(
    side: Side, destination: int, *, target: bytes = STRANGER, data: bytes = b"hello", wallet: Wallet = ALICE
) -> Relay:
    """Sends a message; the relay that would deliver it."""
    sending = calldata("sendMessage(uint256,address,bytes)", destination, target, data)
    return only_relay(side, side.execute(wallet, MESSENGER, sending))


def only_relay(side: Side, executed: Executed) -> Relay:
    """The one message that a transaction in the open block sent."""
    assert executed.status == 1, executed.failure
    (relay,) = relays_of(
        [log for _, log in executed.logs], first_log_index=executed.logs[0][0], block_number=side.block_number,
        timestamp=side.timestamp, chain_id=side.chain_id,
    )  # fmt: skip
    return relay


def deliver(side: Side, relay: Relay, *, wallet: Wallet = RELAYER, value: int = 0) -> Executed:
    """Delivers through the desk."""
    return side.execute(
        wallet, RELAY_DESK, relay.desk_calldata, access_list=[(CROSS_L2_INBOX, relay.keys)], value=value
    )


def claim_after(side: Side, relay: Relay, executed: Executed) -> Claim:
    """The claim for a delivery in the open block of `side`."""
    assert executed.status == 1, executed.failure
    ((index, log),) = [(index, log) for index, log in executed.logs if is_delivered(log)]
    return claim_of(relay, log, block_number=side.block_number, log_index=index, timestamp=side.timestamp)


def delivered(pair: Pair, relay: Relay, *, wallet: Wallet = RELAYER) -> Claim:
    """Delivers a message of A on B and gives the claim, which may be executed on A."""
    claim = claim_after(pair.b, relay, deliver(pair.b, relay, wallet=wallet))
    refusal = refuse_execution(SET, pair.a.chain_id, pair.a.timestamp, claim.access, pair.lookup)
    assert refusal is None, refusal
    return claim


def make_claim(side: Side, claim: Claim, *, wallet: Wallet = RELAYER, data: bytes | None = None) -> Executed:
    """Sends the claim's transaction, or another calldata with its access list."""
    return side.execute(
        wallet, RELAY_FEES, claim.calldata if data is None else data, access_list=[(CROSS_L2_INBOX, claim.keys)]
    )


def attach(side: Side, message_hash: Hash32, value: int, *, gas: int = 200_000, wallet: Wallet = ALICE) -> Executed:
    return side.execute(wallet, RELAY_FEES, calldata("attach(bytes32,uint64)", message_hash, gas), value=value)


def sponsor(side: Side, wallet: Wallet, sender: Wallet, *, amount: int, messages: int, deposit: int) -> None:
    """`wallet` deposits and promises, `sender` accepts."""
    allowing = calldata("allow(address,uint256,uint64,uint64)", sender.address, amount, 150_000, messages)
    for who, data, value in (
        (wallet, calldata("depositFor(address)", wallet.address), deposit),
        (wallet, allowing, 0),
        (sender, calldata("useSponsor(address)", wallet.address), 0),
    ):
        assert side.execute(who, RELAY_FEES, data, value=value).status == 1


def offered(side: Side, message_hash: Hash32, sender: bytes) -> tuple[int, int]:
    """Amount and gas limit."""
    answer = side.session.call(bytes(20), RELAY_FEES, offer_calldata(message_hash, Address(sender)), 1_000_000)
    assert answer.success, answer.error
    offer = decode_offer(answer.output)
    return offer.amount, offer.gas_limit


def messages_left(side: Side, sponsor_address: bytes, sender: bytes) -> int:
    answer = side.call(RELAY_FEES, calldata("allowances(address,address)", sponsor_address, sender))
    left: int = decode(["uint128", "uint64", "uint64"], answer)[2]
    return left
