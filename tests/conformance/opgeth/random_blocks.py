"""Random attributes of blocks: L1 origins, fee parameters, deposits; and the kinds of blocks a run goes through."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec
from random_transactions import Generator

from plait.derivation.attributes import (
    SEQUENCER_FEE_VAULT,
    Deposit,
    Fork,
    L1BlockInfo,
    block_attributes,
    l1_attributes_deposit,
    user_deposit_source_hash,
)
from plait.derivation.system_config import system_of
from plait.native import Attributes
from plait.types import (
    Address,
    BlockNumber,
    Gas,
    Hash32,
    OrderingPolicy,
    RollupId,
    RollupParameters,
    Seconds,
    Wei,
)

BLOCK_TIME_S = 2


class Block(msgspec.Struct, kw_only=True):
    """What opens a block, in the forms that both sides take."""

    kind: str
    timestamp: int
    deposits: list[bytes]
    origin: L1BlockInfo
    parameters: RollupParameters
    attributes: Attributes

    def engine_attributes(self, fork: Fork, transactions: Sequence[bytes]) -> dict[str, Any]:
        """Payload attributes of the Engine API (OP Stack specs: exec engine)."""
        parameters = self.parameters
        rule = parameters.eip1559_denominator.to_bytes(4, "big") + parameters.eip1559_elasticity.to_bytes(4, "big")
        fields: dict[str, Any] = {
            "timestamp": hex(self.timestamp),
            "prevRandao": "0x" + self.origin.prev_randao.hex(),
            "suggestedFeeRecipient": "0x" + SEQUENCER_FEE_VAULT,
            "withdrawals": [],
            "parentBeaconBlockRoot": "0x" + self.origin.parent_beacon_block_root.hex(),
            "transactions": ["0x" + raw.hex() for raw in [*self.deposits, *transactions]],
            "noTxPool": True,
            "gasLimit": hex(parameters.gas_limit),
            "eip1559Params": "0x" + rule.hex(),
        }
        if fork == "jovian":
            fields["minBaseFee"] = parameters.min_base_fee
        return fields


class BlockSource:
    """The sequence of blocks of one run: attributes drift at random, kinds repeat so that each occurs in every run."""

    def __init__(self, seed: int, chain_id: int, genesis_time_s: int, fork: Fork, generator: Generator) -> None:
        self.random = Random(seed ^ 0x5EED)
        self.fork = fork
        self.generator = generator
        self.genesis_time_s = genesis_time_s
        self.sequence_number = 0
        self.origin = self._origin(0)
        self.parameters = RollupParameters(
            rollup_id=RollupId(chain_id),
            genesis_hash=Hash32(bytes(32)),
            block_time_slots=BLOCK_TIME_S,
            gas_limit=Gas(30_000_000),
            ordering=OrderingPolicy.PRIORITY_FEE,
            da_footprint_gas_scalar=0,
            eip1559_denominator=250,
            eip1559_elasticity=6,
            min_base_fee=Wei(0),
            operator_fee_scalar=0,
            operator_fee_constant=0,
            base_fee_scalar=1_368,
            blob_base_fee_scalar=810_949,
        )

    def _origin(self, number: int) -> L1BlockInfo:
        random = self.random
        return L1BlockInfo(
            number=BlockNumber(number),
            hash=Hash32(random.randbytes(32)),
            timestamp=Seconds(self.genesis_time_s + 12 * number),
            base_fee=Wei(random.choice([0, 7, 10**9, random.randrange(10**11)])),
            blob_base_fee=Wei(random.choice([1, 1, random.randrange(10**10)])),
            prev_randao=Hash32(random.randbytes(32)),
            parent_beacon_block_root=Hash32(random.choice([bytes(32), random.randbytes(32)])),
        )

    def next(self, number: int) -> Block:
        """Attributes of block `number`; numbers are asked for in order from 1."""
        random = self.random
        kind = "setup" if number == 1 else "random"
        if number > 1:
            kind = {3: "empty", 5: "da full", 7: "gas full", 9: "deposits"}.get(number % 12, "random")
            self._drift()
        self.sequence_number += 1
        if number == 1 or kind == "deposits" or random.randrange(5) == 0:
            self.origin = self._origin(self.origin.number + 1)
            self.sequence_number = 0
        parameters = self.parameters
        if kind == "da full":  # every small transfer counts 2,000,000 gas of footprint
            parameters = msgspec.structs.replace(parameters, da_footprint_gas_scalar=20_000)
        timestamp = Seconds(self.genesis_time_s + BLOCK_TIME_S * number)
        users = self._deposits(kind) if self.sequence_number == 0 and number > 1 else []
        return Block(
            kind=kind,
            timestamp=timestamp,
            deposits=[
                l1_attributes_deposit(self.origin, self.sequence_number, system_of(parameters), self.fork),
                *users,
            ],
            origin=self.origin,
            parameters=parameters,
            attributes=block_attributes(
                timestamp, self.origin, self.sequence_number, system_of(parameters), deposits=users, fork=self.fork
            ),
        )

    def _drift(self) -> None:
        """Changes some parameter now and then, within ranges that leave most transactions applicable."""
        random = self.random
        if random.randrange(3) != 0:
            return
        change: dict[str, int] = random.choice(
            [
                {"operator_fee_scalar": random.choice([0, 1, 1_234, 50_000])},
                {"operator_fee_constant": random.choice([0, 5_678, 10**12])},
                {"da_footprint_gas_scalar": random.choice([0, 1, 400, 2_000])},
                {"gas_limit": random.choice([20_000_000, 30_000_000, 60_000_000])},
                {"eip1559_denominator": random.choice([50, 250, 8])},
                {"eip1559_elasticity": random.choice([2, 6, 10])},
                {"min_base_fee": random.choice([0, 10**9, 3 * 10**9])},
                {"base_fee_scalar": random.choice([0, 1_368, 2**32 - 1])},
                {"blob_base_fee_scalar": random.choice([0, 810_949, 2**32 - 1])},
            ]
        )
        if self.fork != "jovian":
            for name in ("da_footprint_gas_scalar", "min_base_fee"):
                change.pop(name, None)
        if self.fork == "holocene":
            for name in ("operator_fee_scalar", "operator_fee_constant"):
                change.pop(name, None)
        self.parameters = msgspec.structs.replace(self.parameters, **change)

    def _deposits(self, kind: str) -> list[bytes]:
        """Deposits of users: with and without mint, failing, creating, worth more than the sender has."""
        random = self.random
        count = 8 if kind == "deposits" else random.choice([0, 0, 1, 2])
        wallet = self.generator.wallet
        made = []
        for index in range(count):
            call = self.generator.deposit_call()
            sender = random.choice([*self.generator.strangers, random.randbytes(20), wallet.authorities[0]])
            mint = random.choice([0, 0, call.value, 10**18])
            value = random.choice([call.value, call.value, 10**19])
            gas = random.choice([call.gas, call.gas, 21_000, 30_000])
            made.append(
                Deposit(
                    source_hash=user_deposit_source_hash(self.origin.hash, index),
                    sender=Address(sender),
                    to=Address(call.to) if call.to is not None else None,
                    mint=Wei(mint),
                    value=Wei(value),
                    gas_limit=Gas(max(gas, 21_000)),
                    data=call.data,
                ).encode()
            )
        return made
