"""Question: how fast does the native core build a block beside op-geth building the same block through its Engine API?

Same genesis, same L1 attributes, same raw transactions. Plait: decode with sender recovery, execute, seal. op-geth:
forkchoiceUpdated with the transactions forced (noTxPool) and getPayload, which is where a sequencer waits; newPayload
and forkchoiceUpdated, which import the block, are reported apart. Hashes must be equal, so both did the same work.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from bench import floor, workload
from bench.report import Result, median
from plait.derivation.attributes import SEQUENCER_FEE_VAULT, l1_attributes_deposit
from plait.derivation.system_config import system_of
from plait.l1.synthetic import SyntheticL1
from plait.native import Rollup, Store, recovery_forget
from plait.types import BlockNumber, NetworkId, RollupParameters, Seconds

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "conformance" / "opgeth"))


def payload_attributes(rules: RollupParameters, number: int, raws: list[bytes]) -> dict[str, object]:
    """Engine API form of the attributes that `floor.attributes_of` gives the native core (OP Stack specs,
    exec-engine)."""
    origin, sequence_number = SyntheticL1(Seconds(floor.GENESIS_TIME_S), NetworkId(1)).origin(
        BlockNumber(number), Seconds(1)
    )
    deposit = l1_attributes_deposit(origin, sequence_number, system_of(rules), "jovian")
    fees = rules.eip1559_denominator.to_bytes(4, "big") + rules.eip1559_elasticity.to_bytes(4, "big")
    return {
        "timestamp": hex(floor.GENESIS_TIME_S + number),
        "prevRandao": "0x" + origin.prev_randao.hex(),
        "suggestedFeeRecipient": "0x" + SEQUENCER_FEE_VAULT,
        "withdrawals": [],
        "parentBeaconBlockRoot": "0x" + origin.parent_beacon_block_root.hex(),
        "transactions": ["0x" + raw.hex() for raw in (deposit, *raws)],
        "noTxPool": True,
        "gasLimit": hex(rules.gas_limit),
        "eip1559Params": "0x" + fees.hex(),
        "minBaseFee": rules.min_base_fee,
    }


def run(quick: bool = False) -> Result:
    from opgeth_node import OpGeth

    blocks = 3 if quick else 8
    transfers = workload.make(floor.CHAIN_ID, floor.BLOCK_TRANSACTIONS * 2, blocks // 2 + 1)
    known = [*transfers.senders, *transfers.recipients]
    genesis = workload.genesis_with_token(transfers.chain_id, floor.GENESIS_TIME_S, known, transfers.senders)
    rollup = Rollup.from_genesis(genesis, Store.in_memory())
    rules = floor.parameters()
    ours: list[float] = []
    build: list[float] = []
    imported: list[float] = []
    recovery_forget()
    with tempfile.TemporaryDirectory() as folder, OpGeth(genesis, Path(folder)) as peer:
        head = "0x" + rollup.genesis_hash.hex()
        for number, raws in enumerate(transfers.rounds(floor.BLOCK_TRANSACTIONS)[: blocks + 1], 1):
            ours.append(floor.one_block(rollup, rules, number, raws).total)
            state = {"headBlockHash": head, "safeBlockHash": "0x" + "00" * 32, "finalizedBlockHash": "0x" + "00" * 32}
            body = payload_attributes(rules, number, raws)
            started = time.perf_counter()
            answer = peer.engine.call("engine_forkchoiceUpdatedV3", state, body)
            payload = peer.engine.call("engine_getPayloadV4", answer["payloadId"])
            built = time.perf_counter()
            head = payload["executionPayload"]["blockHash"]
            assert head == "0x" + rollup.head.hash.hex(), "op-geth built another block"
            status = peer.engine.call(
                "engine_newPayloadV4", payload["executionPayload"], [], body["parentBeaconBlockRoot"], []
            )
            assert status["status"] == "VALID", json.dumps(status)
            peer.engine.call("engine_forkchoiceUpdatedV3", {**state, "headBlockHash": head}, None)
            build.append(built - started)
            imported.append(time.perf_counter() - built)
    count = floor.BLOCK_TRANSACTIONS
    result = Result("engine_api")
    result.figure("native core builds", count / median(ours[1:]), "tx/s")
    result.figure("op-geth builds (forkchoiceUpdated + getPayload)", count / median(build[1:]), "tx/s")
    result.figure("op-geth imports (newPayload + forkchoiceUpdated)", count / median(imported[1:]), "tx/s")
    result.ratio("native core / op-geth, building the same blocks", median(build[1:]) / median(ours[1:]), at_least=2.0)
    result.note(f"{blocks} blocks of {count:,} ERC-20 transfers; every block hash equal")
    return result
