"""What is fuzzed of OP Stack rollups: what validators say of the L1, what L1 nodes, engines and programs of the OP
Stack answer or ask, what batches hold, and the files that a node keeps of it.
"""

import asyncio
import base64
import gzip
import hmac
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.codec.json_depth import is_deeper
from plait.codec.l1_items import SignedReport, decode_l1_item, encode_facts_item, encode_report
from plait.codec.rlp import Reader
from plait.crypto.l1_reports import sign_report
from plait.derivation.anchor import Anchor, decode_anchor
from plait.derivation.attributes import (
    FORKS,
    Deposit,
    l1_attributes_data,
    l1_attributes_deposit,
    user_deposit_source_hash,
)
from plait.derivation.deposits import L1Log, deposit_log, deposit_of_log
from plait.derivation.execution_payload import (
    PayloadVersion,
    decode_envelope_ssz,
    decode_payload_ssz,
    encode_envelope_ssz,
    encode_payload_ssz,
    payload_json,
)
from plait.derivation.l1_facts import VaultDeposit, decode_l1_facts, encode_l1_facts
from plait.derivation.l1_info import decode_l1_attributes, decode_l1_attributes_data
from plait.derivation.output_roots import SuperV1, decode_super_v1, encode_super_v1
from plait.derivation.rollup_config import BlockId, OpStackConfig
from plait.derivation.span_batches import decode_raw, encode_raw
from plait.derivation.system_config import (
    CONFIG_UPDATE,
    SystemConfig,
    apply_update,
    decode_system,
    encode_system,
    update_of_log,
)
from plait.errors import CodecError, ConfigurationError, L1Refused
from plait.l1.attestations import AttestedValidator
from plait.l1.gathering import Attestations, CheckpointClaim, SetClaim, from_json, to_json
from plait.l1.headers import L1Header, header_of
from plait.l1.receipts import receipts_of
from plait.l1.transactions import transactions_of
from plait.l1.vault import served_proof
from plait.native import ed25519_public_key
from plait.rollups.batcher.blocks import batch_block
from plait.rollups.batcher.l1_transactions import Content, Fees, decode_signed, sign
from plait.rollups.opstack.ancestors import _downwards, read_receipts
from plait.rollups.opstack.attributes_json import read_extra_data
from plait.rollups.opstack.engine_answers import (
    read_block,
    read_built,
    read_forced,
    read_forkchoice,
    read_payload_status,
)
from plait.rollups.opstack.faces.boost_engine import is_authorized
from plait.rollups.opstack.faces.json_rpc import answer, argument
from plait.rollups.opstack.payload import read_payload
from plait.rollups.opstack.remote_journal import CODE, HEADER, NODE, _record, _records
from plait.types import Address, BlockNumber, Gas, Hash32, Height, NetworkId, RollupId, Seconds, Wei
from plait.types.l1 import RollupConflict, RollupSafe
from sim.fuzz.target import Target, decoder
from sim.l1 import MadeL1, Wish

VECTORS: Final = Path(__file__).parents[2] / "tests" / "conformance" / "opstack" / "vectors"
_A: Final = RollupId(901)
_SEED: Final = bytes(range(32))


_SYSTEM: Final = SystemConfig(
    batcher=Address(bytes(20)), gas_limit=Gas(30_000_000), base_fee_scalar=1, blob_base_fee_scalar=2,
    eip1559_denominator=250, eip1559_elasticity=6,
)  # fmt: skip


# ---------------------------------------------------------------- inputs to begin from
@cache
def _l1() -> MadeL1:
    chain = MadeL1(1, Seconds(1_700_000_000), 2)
    chain.grow([Wish(rollup_id=_A, to=Address(bytes(20)), amount=3)], {_A: [bytes(31) + b"\x02" + bytes(32)]})
    chain.grow()
    return chain


def _facts() -> list[bytes]:
    locked = (VaultDeposit(3, Address(b"\x01" * 20), 10**18),)
    more = msgspec.structs.replace(_l1().head, vault=locked)
    return [encode_l1_facts(one) for one in (*_l1().blocks, more, msgspec.structs.replace(more, generation=1))]


def _items() -> list[bytes]:
    said = _l1().report(
        ed25519_public_key(_SEED),
        7,
        101,
        safe=[RollupSafe(_A, BlockNumber(3))],
        conflicts=[RollupConflict(_A, BlockNumber(4), Hash32(bytes(32)))],
    )
    return [sign_report(NetworkId(7), said, _SEED), *map(encode_facts_item, _facts())]


def _item_bytes(item: SignedReport | bytes) -> bytes:
    return encode_report(item.report, item.signature) if isinstance(item, SignedReport) else encode_facts_item(item)


def _anchors() -> list[bytes]:
    block = BlockId(BlockNumber(9), Hash32(bytes(32)))
    config = OpStackConfig(
        chain_id=901, l1_chain_id=900, genesis_l1=block, genesis_l2=block, genesis_time_s=Seconds(1_700_000_000),
        genesis_system=_SYSTEM, block_time_s=2, batch_inbox=Address(b"\x01" * 20),
        deposit_contract=Address(b"\x02" * 20), system_config_contract=Address(b"\x03" * 20),
    )  # fmt: skip
    anchor = Anchor(
        config=config, block=block, timestamp=Seconds(1_700_000_100), origin=block, sequence_number=3, system=_SYSTEM
    )
    return [anchor.encode()]


def _sized(version: PayloadVersion) -> bytes:
    """SSZ of an empty payload of a version, before its version."""
    fixed = {1: 508, 2: 512, 3: 528, 4: 560}[version]
    head = bytearray(fixed)
    head[436:440] = fixed.to_bytes(4, "little")
    head[504:508] = fixed.to_bytes(4, "little")
    if version >= 2:
        head[508:512] = fixed.to_bytes(4, "little")
    return bytes([version]) + bytes(head)


def _versioned(decode: Callable[[bytes, PayloadVersion], Any]) -> Callable[[bytes], Any]:
    """A decoder whose input begins with the version."""

    def read(data: bytes) -> Any:
        version = data[0] if data else 0
        if version not in {1, 2, 3, 4}:
            raise CodecError("there is no such version")
        return decode(data[1:], version)  # type: ignore[arg-type]

    return read


def _l1_block(name: str) -> bytes:
    return gzip.decompress((VECTORS / name).read_bytes())


def _deposit_logs() -> list[bytes]:
    deposit = Deposit(
        source_hash=user_deposit_source_hash(Hash32(bytes(32)), 0), sender=Address(b"\x05" * 20),
        to=Address(b"\x06" * 20), mint=Wei(7), value=Wei(8), gas_limit=Gas(100_000), data=b"some data",
    )  # fmt: skip
    log = deposit_log(deposit, address=Address(bytes(20)), index=0)
    return [bytes([len(log.topics)]) + b"".join(log.topics) + log.data]


def _updates() -> list[bytes]:
    found = []
    for kind in range(8):
        size = 64 if kind == 1 else 32
        topics = CONFIG_UPDATE + bytes(32) + kind.to_bytes(32, "big")
        data = (32).to_bytes(32, "big") + size.to_bytes(32, "big") + bytes(size - 4) + b"\x01\x02\x03\x04"
        found.append(b"\x03" + topics + data)
    return found


def _block_json() -> list[bytes]:
    found = []
    for name in ("l1_block_post_shanghai.json.gz", "l1_block_pre_shanghai.json.gz"):
        block = json.loads(_l1_block(name))
        block = block.get("result", block)
        block["transactions"] = block["transactions"][:1]
        block.pop("withdrawals", None)
        found.append(json.dumps(block, separators=(",", ":")).encode())
    return found


def _payload_json() -> list[bytes]:
    found = [b"{}"]
    for version in (3, 4):
        payload = decode_payload_ssz(_sized(version)[1:], version)
        found.append(json.dumps(payload_json(payload)).encode())
    return found


def _attestations() -> list[bytes]:
    validator = AttestedValidator(Address(b"\x09" * 20), _SEED, 7)
    claims = Attestations(
        chain_id=900,
        registry=Address(b"\x01" * 20),
        network_id=7,
        epoch=1,
        attester=Address(b"\x02" * 20),
        current=(validator,),
        checkpoints=(CheckpointClaim(Height(9), Hash32(bytes(32)), bytes(64)),),
        sets=(SetClaim(Height(9), (validator,), bytes(64)),),
    )
    return [msgspec.json.encode(to_json(claims))]


def _account_proof() -> list[bytes]:
    word = "0x" + "11" * 32
    proof = {
        "row": "0x01", "bucket": {"index": 1, "count": 2, "path": [word]}, "branchPaths": [[word], []],
        "economyPath": [word], "ledgerLeaves": 5, "ledgerPath": [],
    }  # fmt: skip
    return [json.dumps({"balance": "0x5", "checkpoint": 9, "headers": ["0x01"], "proof": proof}).encode()]


def _signed() -> list[bytes]:
    fees = Fees(tip=Wei(1), fee_cap=Wei(10**9))
    content = Content(chain_id=900, to=Address(b"\x07" * 20), data=b"some data")
    return [sign(_SEED, content, nonce=3, fees=fees, gas_limit=Gas(50_000), sidecar=None).raw]


# ---------------------------------------------------------------- readers of JSON and files
def _json(read: Callable[[Any], Any]) -> Callable[[bytes], Any]:
    """A reader of decoded JSON, given what our HTTP clients hand on: bytes that msgspec reads."""

    def decode(data: bytes) -> Any:
        try:
            value = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CodecError(f"this is no JSON: {type(error).__name__}") from error
        return read(value)

    return decode


def _whole_block(answer: Any) -> Any:
    """Transactions and receipts of a block whose header was checked: roots that are not theirs are refused."""
    header = _blank_header()
    for read in (transactions_of, receipts_of):
        try:
            read(header, answer)
        except L1Refused:
            continue
    return header_of(answer)


@cache
def _blank_header() -> L1Header:
    zero = Hash32(bytes(32))
    return L1Header(
        hash=zero, parent_hash=zero, uncles_hash=zero, miner=Address(bytes(20)), state_root=zero,
        transactions_root=zero, receipts_root=zero, logs_bloom=bytes(256), difficulty=0, number=BlockNumber(1),
        gas_limit=Gas(1), gas_used=Gas(0), timestamp=Seconds(1), extra_data=b"", mix_hash=zero, nonce=bytes(8),
        base_fee=Wei(1), withdrawals_root=None, blob_gas_used=None, excess_blob_gas=None,
        parent_beacon_block_root=None, requests_hash=None,
    )  # fmt: skip


def _log(data: bytes) -> L1Log:
    count = min(data[0] % 5, len(data) // 32) if data else 0
    topics = tuple(Hash32(data[1 + 32 * at : 33 + 32 * at]) for at in range(count))
    topics = tuple(topic for topic in topics if len(topic) == 32)
    return L1Log(address=Address(bytes(20)), topics=topics, data=data[1 + 32 * count :], index=0)


def _update(data: bytes) -> object:
    log = _log(data)
    update = update_of_log(log.topics, log.data)
    return update if update is None else apply_update(_SYSTEM, update)


def _face(data: bytes) -> bytes:
    """An answer in the right form to whatever body arrives."""

    async def call(method: str, params: list[msgspec.Raw]) -> Any:
        return [argument(params, at, method) for at in range(max(1, len(params)))]

    said = asyncio.run(answer(data, call))
    value = msgspec.json.decode(said)
    for one in value if isinstance(value, list) else [value]:
        assert one["jsonrpc"] == "2.0"
        assert ("result" in one) is not ("error" in one), one
    return said


def _token(data: bytes) -> bool:
    """Claims of a token, signed as they are."""
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', data))
    signature = base64.urlsafe_b64encode(hmac.digest(bytes(32), text, "sha256")).rstrip(b"=")
    assert not is_authorized(f"Bearer {text.decode()}.AAAA", bytes(32), 5.0)
    return is_authorized(f"Bearer {text.decode()}.{signature.decode()}", bytes(32), 5.0)


def _again(value: Any) -> Attestations:
    """What a node said of its attestations, which it would say again."""
    found = from_json(value)
    assert from_json(to_json(found)) == found
    return found


def _ancestors(data: bytes) -> object:
    return list(_downwards(io.BytesIO(data)))


def _ancestor_file() -> list[bytes]:
    record = msgspec.msgpack.encode((7, b"header", [b"transaction"], [b"receipt"]))
    size = len(record).to_bytes(4, "big")
    return [2 * (size + record + size), b""]


def _journal(data: bytes) -> object:
    records, end, damaged = _records(data)
    assert end <= len(data)
    assert damaged >= 0
    for kind, payload in records:
        assert _record(kind, payload) in data
    return records


def _depth(data: bytes) -> object:
    """What is not deeper than allowed, msgspec reads without reaching its own limit."""
    if is_deeper(data, 200):
        raise CodecError("too deep")
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CodecError("no JSON") from error


def _super_bytes(root: SuperV1) -> bytes:
    return encode_super_v1(root.timestamp, root.outputs)


def _system_of(data: bytes) -> SystemConfig:
    reader = Reader(data, what="system configuration")
    inner = reader.read_list("system configuration")
    found = decode_system(inner)
    inner.end()
    reader.end()
    return found


_WORDS: Final = b"failed to force-include tx: 0x%b err: x" % (b"11" * 32)
_STATUS: Final = b'{"status":"VALID","latestValidHash":"0x%b","validationError":null}' % (b"11" * 32)
_ENGINE_BLOCK: Final = b'{"number":"0x1","hash":"0x%b","parentHash":"0x%b","timestamp":"0x5","extraData":"0x"}' % (
    b"11" * 32,
    b"22" * 32,
)
_BUILT: Final = b'{"executionPayload":{"blockHash":"0x%b"},"parentBeaconBlockRoot":"0x%b"}' % (b"11" * 32, b"22" * 32)
_RECEIPTS: Final = (
    b'[{"type":"0x7e","status":"0x1","cumulativeGasUsed":"0x5","logsBloom":"0x%b","depositNonce":"0x1",'
    b'"depositReceiptVersion":"0x1","logs":[{"address":"0x%b","topics":["0x%b"],"data":"0x01"}]}]'
    % (b"00" * 256, b"11" * 20, b"22" * 32)
)
_CALLS: Final = [
    b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":["a",{"b":1}]}',
    b'[{"jsonrpc":"2.0","id":1,"method":"x","params":["\\u00e9"]},{"jsonrpc":"2.0","id":"2","method":"y","params":[]}]',
]
_L1_REFUSALS: Final = (CodecError, L1Refused)

OPSTACK_TARGETS: Final[tuple[Target, ...]] = (
    decoder("l1_facts", decode_l1_facts, _facts, encode=encode_l1_facts),
    decoder("l1_item", decode_l1_item, _items, encode=_item_bytes),
    decoder(
        "anchor",
        decode_anchor,
        _anchors,
        encode=lambda found: found.encode(),
        refusals=(CodecError, ConfigurationError),
    ),
    decoder("system_config", _system_of, lambda: [encode_system(_SYSTEM)], encode=encode_system),
    decoder("system_update", _update, _updates),
    decoder("deposit_log", lambda data: deposit_of_log(_log(data), Hash32(bytes(32))), _deposit_logs),
    decoder(
        "l1_attributes",
        decode_l1_attributes,
        lambda: [l1_attributes_deposit(_l1().head.info, 3, _SYSTEM, fork) for fork in FORKS],
    ),
    decoder(
        "l1_attributes_data",
        decode_l1_attributes_data,
        lambda: [l1_attributes_data(_l1().head.info, 3, _SYSTEM, fork) for fork in FORKS],
    ),
    decoder(
        "span_raw",
        decode_raw,
        lambda: [b"\x01" + (VECTORS / "span_batch_raw.bin").read_bytes()],
        encode=encode_raw,
        seeds_may_fail=True,
    ),
    decoder(
        "payload_ssz",
        _versioned(decode_payload_ssz),
        lambda: [_sized(1), _sized(2), _sized(3), _sized(4)],
        encode=lambda found: bytes([found.version]) + encode_payload_ssz(found),
    ),
    decoder(
        "envelope_ssz",
        _versioned(decode_envelope_ssz),
        lambda: [_sized(1), _sized(3)[:1] + bytes(32) + _sized(3)[1:], _sized(4)[:1] + bytes(32) + _sized(4)[1:]],
        encode=lambda found: bytes([found.payload.version]) + encode_envelope_ssz(found),
    ),
    decoder("super_root", decode_super_v1, lambda: [b"\x01" + bytes(72)], encode=_super_bytes),
    decoder("batcher_transaction", decode_signed, _signed),
    decoder("sealed_block", batch_block, lambda: [bytes(64)], seeds_may_fail=True),
    decoder("extra_data", read_extra_data, lambda: [b"\x00" + bytes(8), b"\x01" + bytes(16), b""]),
    decoder(
        "l1_block_json",
        _json(_whole_block),
        _block_json,
        refusals=_L1_REFUSALS,
        seeds_may_fail=True,
    ),
    decoder(
        "l1_receipts_json",
        _json(lambda value: receipts_of(_blank_header(), value)),
        lambda: [_RECEIPTS],
        refusals=_L1_REFUSALS,
        seeds_may_fail=True,
    ),
    decoder("engine_status", _json(read_payload_status), lambda: [_STATUS]),
    decoder(
        "engine_forkchoice",
        _json(read_forkchoice),
        lambda: [b'{"payloadStatus":%b,"payloadId":"0x%b"}' % (_STATUS, b"12" * 8)],
    ),
    decoder("engine_block", _json(read_block), lambda: [_ENGINE_BLOCK]),
    decoder("engine_built", read_built, lambda: [_BUILT]),
    decoder(
        "engine_payload",
        lambda data: read_payload(data, bytes(32)),
        lambda: [b'{"blockHash":"0x00"}'],
        seeds_may_fail=True,
    ),
    decoder("engine_receipts", _json(read_receipts), lambda: [_RECEIPTS]),
    decoder(
        "engine_words",
        lambda data: read_forced(data.decode(errors="replace")),
        lambda: [b"failed to force-include tx: 0x%b err: x" % (b"11" * 32)],
    ),
    decoder("face_call", _face, lambda: list(_CALLS)),
    decoder("attestations", _json(_again), _attestations),
    decoder("l1_account_proof", _json(served_proof), _account_proof),
    decoder("engine_token", _token, lambda: [b'{"iat":5}', b'{"iat":1700000000}']),
    decoder("ancestor_file", _ancestors, _ancestor_file),
    decoder(
        "read_journal", _journal, lambda: [_record(NODE, b"node") + _record(CODE, b"code") + _record(HEADER, b"h")]
    ),
    decoder("json_depth", _depth, lambda: [b'{"a":[[["\\"]"]]]}', b"[" * 190 + b"]" * 190]),
)
