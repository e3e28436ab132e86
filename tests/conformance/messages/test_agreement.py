"""plait/interop and the independent checker agree on random histories, most of them partly invalid: message by message
on whether it is valid and that Plait's reason is one of those that the checker finds, and per timestamp on the chains
at fault in cycles.

More: PLAIT_MESSAGES_SEEDS=20000 pytest tests/conformance/messages/test_agreement.py
"""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest
import rlp
from eth_account import Account

from plait.errors import MessageRefused
from plait.interop.access_list import Access, access_list_of_transaction, access_of, parse_access_list
from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import LogIndex, MessageChainId, log_hash_of, payload_hash_of
from plait.interop.messages import Log, decode_executing_message, is_executing_message
from plait.interop.validity import InitiatingLog, InteropChain, InteropSet, LogAbsence, refuse_execution
from plait.native import Transaction, declaring, decode_transactions
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS
from plait.types import Address, BlockNumber, Hash32, Seconds
from tests.conformance.messages.checker import INBOX, Claim, Judged, Malformed, declared_by, judge
from tests.conformance.messages.histories import History, keys_of, random_history
from tests.conformance.messages.reading import Block, read_access_list

SEEDS = int(os.environ.get("PLAIT_MESSAGES_SEEDS", "600"))

RULE_OF_CODE = {
    "chain_unknown": "chain",
    "execution_too_early": "execution",
    "initiation_too_early": "initiation",
    "message_from_future": "future",
    "message_expired": "expired",
    "message_missing": "exists",
    "message_not_yet": "exists",
    "message_timestamp_wrong": "timestamp",
    "message_checksum_wrong": "content",
}
"""Plait's code to the checker's rule."""

Verdicts = dict[tuple[int, int, int, int | None, Access | None], str]
"""(chain, block, transaction, log index or None, message) to the rule that Plait sees broken first."""


class PlaitJudge:
    """Asks plait/interop, as a builder of all chains would."""

    def __init__(self, history: History) -> None:
        self.blocks = history.blocks
        self.set = InteropSet(
            chains=tuple(
                InteropChain(
                    chain_id=MessageChainId(chain.chain_id),
                    activation=Seconds(chain.activation),
                    block_time_s=Seconds(chain.block_time),
                )
                for chain in sorted(history.chains)
            )
        )
        self.logs = {
            (block.chain_id, block.number, index): InitiatingLog(
                timestamp=Seconds(block.timestamp),
                log_hash=log_hash_of(
                    Address(log.origin), payload_hash_of([Hash32(topic) for topic in log.topics], log.data)
                ),
            )
            for block in history.blocks
            for index, log in enumerate(block.logs)
        }
        self.newest: dict[int, int] = {}
        for block in history.blocks:
            self.newest[block.chain_id] = max(block.number, self.newest.get(block.chain_id, 0))
        self.verdicts: Verdicts = {}
        self.executions: dict[int, list[SameTimeExecution]] = {}

    def lookup(
        self, chain_id: MessageChainId, block_number: BlockNumber, log_index: LogIndex
    ) -> InitiatingLog | LogAbsence:
        if block_number > self.newest.get(chain_id, -1):
            return LogAbsence.FUTURE_BLOCK
        return self.logs.get((chain_id, block_number, log_index), LogAbsence.NO_SUCH_LOG)

    def judge(self) -> tuple[Verdicts, dict[int, tuple[int, ...]]]:
        """Verdicts by message, and chains in cycles by timestamp."""
        for block in self.blocks:
            index = -1
            for place, transaction in enumerate(block.transactions):
                access_list = [
                    (Address(address), [Hash32(key) for key in keys]) for address, keys in transaction.access_list
                ]
                try:
                    for access in parse_access_list(access_list):
                        self._ask(block, place, None, access)
                except MessageRefused:
                    self.verdicts[block.chain_id, block.number, place, None, None] = "access_list"
                for log in transaction.logs:
                    index += 1
                    self._ask_log(block, place, index, Log(Address(log.origin), [*map(Hash32, log.topics)], log.data))
        cycles = {
            timestamp: chains
            for timestamp, executions in self.executions.items()
            if (chains := chains_in_cycles(executions))
        }
        return self.verdicts, cycles

    def _ask_log(self, block: Block, place: int, index: int, log: Log) -> None:
        if not is_executing_message(log):
            return
        try:
            message = decode_executing_message(log.topics, log.data)
        except MessageRefused:
            self.verdicts[block.chain_id, block.number, place, index, None] = "event"
            return
        self._ask(block, place, index, access_of(message))
        at = message.identifier
        if at.timestamp == block.timestamp:
            self.executions.setdefault(block.timestamp, []).append(
                SameTimeExecution(
                    chain_id=MessageChainId(block.chain_id),
                    log_index=LogIndex(index),
                    source_chain_id=at.chain_id,
                    source_log_index=at.log_index,
                )
            )

    def _ask(self, block: Block, place: int, index: int | None, access: Access) -> None:
        refusal = refuse_execution(
            self.set, MessageChainId(block.chain_id), Seconds(block.timestamp), access, self.lookup
        )
        if refusal is not None:
            self.verdicts[block.chain_id, block.number, place, index, access] = RULE_OF_CODE[refusal.code]


def disagreements(history: History) -> tuple[list[str], Counter[str]]:
    """What the two see differently, and how often Plait named each rule first."""
    verdicts, cycles = PlaitJudge(history).judge()
    found: list[str] = []
    bad: dict[tuple[int, int, int, int | None, Access | None], frozenset[str]] = {}
    circular: dict[int, set[int]] = {}
    for item in judge(history.chains, history.blocks):
        if item.broken == {"cycle"}:
            circular.setdefault(item.timestamp, set()).add(item.chain_id)
        elif rest := item.broken - {"declared"}:  # the contract's to see, not plait/interop's
            bad[item.chain_id, item.block_number, item.transaction, item.log_index, _access(item)] = rest
    found += [
        f"{key}: Plait {verdicts.get(key)}, the checker {sorted(bad.get(key, ()))}"
        for key in bad.keys() | verdicts.keys()
        if verdicts.get(key) not in bad.get(key, ())
    ]
    if {timestamp: set(chains) for timestamp, chains in cycles.items()} != circular:
        found.append(f"cycles: Plait {cycles}, the checker {circular}")
    return found, Counter([*verdicts.values(), *["cycle"] * len(cycles)])


def _access(item: Judged) -> Access | None:
    return None if item.claim is None else _access_of(item.claim)


def _access_of(claim: Claim) -> Access:
    return Access(
        block_number=BlockNumber(claim.block_number),
        timestamp=Seconds(claim.timestamp),
        log_index=LogIndex(claim.log_index),
        chain_id=MessageChainId(claim.chain_id),
        checksum=Hash32(claim.checksum),
    )


def test_plait_and_the_checker_agree_on_random_histories() -> None:
    """Valid and partly invalid ones; every reason of Plait occurs."""
    seen: Counter[str] = Counter()
    invalid = 0
    for seed in range(SEEDS):
        for sloppy in (False, True):
            found, counts = disagreements(random_history(seed, sloppy=sloppy))
            assert not found, f"random_history({seed}, sloppy={sloppy})\n" + "\n".join(found[:10])
            assert sloppy or not counts, f"random_history({seed}) is valid, Plait says {counts}"
            invalid += bool(counts)
            seen += counts
    assert invalid > SEEDS // 2, "too few invalid histories to show anything"
    print(f"\n{2 * SEEDS} histories, {invalid} invalid; rules that Plait named: {dict(sorted(seen.items()))}")
    expected = {*RULE_OF_CODE.values(), "access_list", "event", "cycle"}
    assert set(seen) == expected, f"never seen: {sorted(expected - set(seen))}"


def test_both_readers_of_access_lists_agree_on_random_keys() -> None:
    """Sequences of good keys with some dropped, doubled, swapped or changed: both read the same, or both refuse."""
    read = refused = 0
    for seed in range(20 * SEEDS):
        random = Random(seed)
        keys = [key for _ in range(random.randrange(4)) for key in keys_of(_random_claim(random))]
        for _ in range(random.choice((0, 0, 1, 2)) if keys else 0):
            place = random.randrange(len(keys))
            change = random.choice(("drop", "double", "swap", "type", "padding"))
            if change == "type":
                keys[place] = bytes([random.randrange(5)]) + keys[place][1:]
            elif change == "padding":
                at = random.randrange(1, 12)
                keys[place] = keys[place][:at] + random.choice((b"\0", b"\x01")) + keys[place][at + 1 :]
            elif change == "swap":
                other = random.randrange(len(keys))
                keys[place], keys[other] = keys[other], keys[place]
            else:
                keys[place : place + 1] = [keys[place]] * (2 if change == "double" else 0)
                if not keys:
                    break
        access_list = [(INBOX, keys[:1]), (bytes(20), [bytes(32)]), (INBOX, keys[1:])]
        try:
            ours = parse_access_list([(Address(address), [*map(Hash32, listed)]) for address, listed in access_list])
        except MessageRefused:
            refused += 1
            with pytest.raises(Malformed):
                declared_by(tuple((address, tuple(listed)) for address, listed in access_list))
            continue
        theirs = declared_by(tuple((address, tuple(listed)) for address, listed in access_list))
        assert [_access_of(item) for item in theirs] == ours, f"seed {seed}"
        read += len(ours)
    assert min(read, refused) > SEEDS


def test_both_readers_find_the_same_access_list_in_raw_transactions() -> None:
    """Transactions of every type signed by eth-account, and a deposit: all three readings are one."""
    account = Account.from_key(DEVELOPMENT_ACCOUNTS[0].private_key)
    deposit = bytes.fromhex("7e") + bytes(rlp.encode([bytes(32), bytes(20), bytes(20), b"", b"", b"\x01", b"", b""]))
    assert read_access_list(deposit) == ()
    assert access_list_of_transaction(deposit) == []
    authorization = account.sign_authorization({"chainId": 901, "address": "0x" + "11" * 20, "nonce": 1})
    base = {"chainId": 901, "nonce": 0, "gas": 500_000, "to": "0x" + "22" * 20, "value": 0}
    fees = {"maxFeePerGas": 9, "maxPriorityFeePerGas": 1}
    for seed in range(SEEDS // 20):
        random = Random(seed)
        listed = [
            (random.choice((INBOX, random.randbytes(20))), [random.randbytes(32) for _ in range(random.randrange(4))])
            for _ in range(random.randrange(4))
        ]
        shown = [{"address": "0x" + item.hex(), "storageKeys": ["0x" + k.hex() for k in keys]} for item, keys in listed]
        for fields in (
            {"gasPrice": 9},
            {"type": 1, "gasPrice": 9, "accessList": shown},
            {"type": 2, **fees, "accessList": shown},
            {"type": 4, **fees, "accessList": shown, "authorizationList": [authorization]},
        ):
            raw = bytes(account.sign_transaction({**base, **fields}).raw_transaction)
            expected = listed if "accessList" in fields else []
            assert [(address, list(keys)) for address, keys in read_access_list(raw)] == expected
            assert access_list_of_transaction(raw) == expected
            transaction = decode_transactions([raw], 901)[0]
            assert isinstance(transaction, Transaction)
            joined = [key for address, keys in expected if address == INBOX for key in keys]
            assert transaction.access_list_keys(INBOX) == joined
            named = any(address == INBOX for address, _ in expected)
            assert declaring([transaction], INBOX) == ([0] if named else [])


def _random_claim(random: Random) -> Claim:
    chain_id = random.choice((random.randrange(1000), random.randrange(2**64, 2**256)))
    position = (random.randrange(2**64), random.randrange(2**32), random.randrange(2**64))
    return Claim(chain_id, *position, b"\x03" + random.randbytes(31))
