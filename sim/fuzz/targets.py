"""What is fuzzed: one target per decoder of bytes that others send, and the RPC entries of a running node.

A target names its decoder, the refusals it may answer with, valid inputs to begin from, and where there is one the
encoder that must give back the same bytes for whatever was read.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import msgspec

from plait.codec.action import decode_action, encode_action
from plait.codec.agreed import decode_agreed
from plait.codec.batch import Batch, decode_batch, encode_batch
from plait.codec.bundle import decode_leg, decode_terms, encode_leg, encode_terms
from plait.codec.rlp import encode_bytes
from plait.derivation.batches import SingularBatch, decode_singular, encode_singular
from plait.derivation.blobs import decode_blob, encode_blob
from plait.derivation.channel_reading import read_batches
from plait.derivation.channels import compress
from plait.derivation.frames import Frame, decode, encode
from plait.derivation.gossip import decode_message
from plait.derivation.rollup_config import decode_rollup_json
from plait.derivation.span_batches import decode_span
from plait.engines.cometbft.framing import Deframer, frame
from plait.errors import CodecError, ConfigurationError, LightRefused, MessageRefused
from plait.interop.access_list import access_list_of_transaction, parse_accesses
from plait.interop.messages import decode_executing_message, decode_relayed_message, decode_sent_message
from plait.interop.relay_fees import decode_delivered, decode_delivery_required, decode_offer
from plait.ledger.encoding import decode_ledger, encode_ledger
from plait.ledger.equivocation import read_sign_bytes
from plait.light.blocks import decode_light_block
from plait.native import Refusal, Transaction, decode_transactions
from plait.node.config import NetworkConfig, RollupConfig, decode_network
from plait.protocol.proposal import (
    Proposal,
    decode_header,
    decode_proposal,
    encode_entry,
    encode_header,
    encode_proposal,
)
from plait.rollups.opstack.faces.flashblock import decode_flashblock
from plait.rpc import RpcConfig
from plait.rpc.errors import INTERNAL_ERROR
from plait.rpc.openrpc import example_calls
from plait.rpc.table import METHODS
from plait.storage.manifest import Manifest, RollupParts, decode_manifest
from plait.storage.record import DecidedRecord, decode_record_body, decode_record_header, encode_record
from plait.types import BlockNumber, ChainId, Hash32, Height, Milliseconds, RollupId, Seconds, Slot, SubIndex
from sim.fuzz.opstack_targets import OPSTACK_TARGETS
from sim.fuzz.target import Decode, Target, decoder
from sim.listening import Running, running
from sim.wallet import Wallet

CHAIN_ID: Final = 901
VECTORS: Final = Path(__file__).parents[2] / "tests" / "conformance"
_ROLLUP_JSON: Final = (
    b'{"genesis":{"l1":{"hash":"0x%b","number":1},"l2":{"hash":"0x%b","number":0},"l2_time":1700000000,'
    b'"system_config":{"batcherAddr":"0x%b","overhead":"0x0","scalar":"0x%b","gasLimit":30000000}},"block_time":2,'
    b'"max_sequencer_drift":600,"seq_window_size":3600,"channel_timeout":300,"l1_chain_id":900,"l2_chain_id":901}'
) % (b"11" * 32, b"22" * 32, b"33" * 20, b"00" * 32)


# ---------------------------------------------------------------- inputs to begin from
@cache
def _vectors(path: str) -> Any:
    return json.loads((VECTORS / path).read_text())


def _column(path: str, *names: str) -> list[bytes]:
    """Hex fields of a list of vectors."""
    return [bytes.fromhex(one[name].removeprefix("0x")) for one in _vectors(path) for name in names if name in one]


@cache
def _signed() -> tuple[bytes, ...]:
    wallet, to = Wallet.of_index(1, "fuzz"), bytes(range(20))
    return (
        wallet.sign_legacy(CHAIN_ID, 0, to=to, value=1),
        wallet.sign_1559(CHAIN_ID, 1, to=to, data=bytes(40)),
        wallet.sign_1559(CHAIN_ID, 2, to=to, access_list=[(to, [bytes(32), bytes([7]) * 32])]),
        wallet.sign_7702(CHAIN_ID, 3, [wallet.authorize(CHAIN_ID, 4)], to=to),
    )


def _legs() -> list[bytes]:
    return [encode_leg(_signed()), encode_leg(_signed()[:1])]


def _batches() -> list[bytes]:
    groups = ((RollupId(901), _signed()[:2]), (RollupId(902), _signed()[2:]))
    return [encode_batch(Batch(height=Height(7), transactions=groups, bundles=(), cancellations=(), actions=()))]


def _singular() -> list[bytes]:
    batch = SingularBatch(
        parent_hash=Hash32(bytes(32)),
        epoch_number=BlockNumber(5),
        epoch_hash=Hash32(bytes(32)),
        timestamp=Seconds(9),
        transactions=_signed(),
    )
    return [encode_singular(batch)]


def _channels() -> list[bytes]:
    stream = b"".join(map(encode_bytes, _singular()))
    return [compress(stream, "zlib"), compress(stream, "brotli")]


def _frames() -> list[bytes]:
    frames = [Frame(bytes(16), 0, b"some data", False), Frame(bytes(16), 1, b"", True)]
    return [encode(frames), encode(frames[:1])]


def _manifests() -> list[bytes]:
    parts = RollupParts(RollupId(901), 10, (20,), 30)
    return [Manifest(Hash32(bytes(32)), Height(3), 40, [parts], bytes(32 * 4)).encoded]


def _records() -> list[bytes]:
    proposal = _column("vectors/proposal_v2.json", "proposal_bytes")[0]
    record = DecidedRecord(
        height=Height(3),
        slot=Slot(4),
        sub_index=SubIndex(1),
        time_ms=Milliseconds(5),
        app_hash=Hash32(bytes(32)),
        proposal=proposal,
        senders=bytes(40),
    )
    return [encode_record(record)]


def _networks() -> list[bytes]:
    rollups = (RollupConfig(chain_id=901), RollupConfig(chain_id=902))
    return [msgspec.json.encode(NetworkConfig(genesis_time_s=1_790_000_000, rollups=rollups))]


def _gossip() -> list[bytes]:
    return [bytes.fromhex(one["message"][2:]) for one in _vectors("opstack/vectors/gossip.json")["messages"]]


def _flashblocks() -> list[bytes]:
    return [text.encode() for name, text in _vectors("opstack/vectors/flashblocks.json").items() if name != "source"]


def _keys() -> list[bytes]:
    valid = _vectors("vectors/interop_access_list.json")["valid"]
    return [b"".join(bytes.fromhex(key[2:]) for key in one["keys"]) for one in valid] + [bytes(96)]


# ---------------------------------------------------------------- decoders in the form of bytes -> value
def _transaction(data: bytes) -> bytes:
    (found,) = decode_transactions([data], CHAIN_ID)
    if isinstance(found, Refusal):
        raise CodecError(found.message, code=found.code)
    assert isinstance(found, Transaction)
    return found.raw


def _proposal_bytes(proposal: Proposal) -> bytes:
    entries = [encode_entry(entry.stamp_ms, entry.terms_bytes) for entry in proposal.bundles]
    return encode_proposal(encode_header(proposal.header), proposal.blocks, entries, proposal.actions)


def _record(data: bytes) -> DecidedRecord:
    header = decode_record_header(data)
    record = None if header is None else decode_record_body(header, data[-header.body_bytes - 4 :])
    if record is None:
        raise CodecError("no record")
    return record


def _events(data: bytes) -> object:
    """Up to four topics and data, each reader in turn."""
    count = data[0] % 5 if data else 0
    topics = [Hash32(data[1 + 32 * at : 33 + 32 * at]) for at in range(count)]
    rest = data[1 + 32 * count :]
    read: list[object] = []
    readers: tuple[Callable[[Sequence[Hash32], bytes], object], ...]
    readers = (decode_executing_message, decode_sent_message, decode_relayed_message, decode_delivered)
    for reader in (*readers, decode_delivery_required, lambda _, given: decode_offer(given)):
        try:
            read.append(reader(topics, rest))
        except MessageRefused as refused:
            last = refused
    if not read:
        raise last
    return read


def _accesses(data: bytes) -> object:
    return parse_accesses([Hash32(data[at : at + 32]) for at in range(0, len(data), 32)])


def _light_block(data: bytes) -> object:
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise LightRefused(str(error)) from error
    return decode_light_block(value)


def _abci(data: bytes) -> bytes:
    reader = Deframer()
    reader.feed(data)
    messages: list[bytes] = []
    while (message := reader.pop()) is not None:
        messages.append(message)
    return b"".join(map(frame, messages))


def _span(data: bytes) -> object:
    return decode_span(data, genesis_time_s=Seconds(1_700_000_000), block_time_s=2, chain_id=CHAIN_ID)


# ---------------------------------------------------------------- entries of a running node
class _Answered(Exception):
    """The node answered with an error in the right form."""


def _check_answer(answer: Any) -> bool:
    """Whether one answer of JSON-RPC is a result; raises AssertionError when its form is wrong."""
    assert answer["jsonrpc"] == "2.0"
    assert set(answer) in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"}), answer
    if "error" not in answer:
        return True
    error = answer["error"]
    assert isinstance(error["code"], int)
    assert error["message"]
    assert error["code"] != INTERNAL_ERROR, error
    return False


def _entry(rollup: int | None) -> Callable[[], AbstractContextManager[Decode]]:
    @contextmanager
    def opened() -> Iterator[Decode]:
        for node in running(RpcConfig(port=0, rollup_port_base=None)):
            yield partial(_ask, node, rollup)

    return opened


def _ask(node: Running, rollup: int | None, body: bytes) -> None:
    status, text, _ = node.post(body, rollup=rollup)
    assert status in (200, 204), text
    if not text:
        return
    answer = json.loads(text)
    checked = [_check_answer(one) for one in (answer if isinstance(answer, list) else [answer])]
    if not all(checked):
        raise _Answered


def _calls() -> list[bytes]:
    """A call of every method: its example, or no parameters where an example needs what came before."""
    examples = example_calls()
    bare = [{"jsonrpc": "2.0", "id": 1, "method": m, "params": [{}]} for m in METHODS if METHODS[m].example is None]
    calls = [call for call in examples + bare if call["method"] != "eth_sendRawTransactionSync"]
    raw = [{"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + _signed()[1].hex()]}]
    return [json.dumps(call).encode() for call in calls] + [json.dumps(examples[:5] + raw).encode()]


TARGETS: Final = {
    target.name: target
    for target in (
        decoder("transaction", _transaction, lambda: list(_signed()), encode=bytes, guided=False),
        decoder("access_list_of_transaction", access_list_of_transaction, lambda: list(_signed())),
        decoder("bundle_leg", decode_leg, _legs, encode=lambda raws: encode_leg(tuple(raws))),
        decoder(
            "bundle_terms", decode_terms, lambda: _column("vectors/bundle_v1.json", "terms_bytes"), encode=encode_terms
        ),
        decoder("batch", decode_batch, _batches, encode=encode_batch),
        decoder("action", decode_action, lambda: _column("vectors/action_v1.json", "raw"), encode=encode_action),
        decoder("agreed", decode_agreed, lambda: [b"", b"\xc3\x80\xc0\xc0"], seeds_may_fail=True),
        decoder(
            "proposal",
            decode_proposal,
            lambda: (
                _column("vectors/proposal_v2.json", "proposal_bytes")
                + _column("vectors/bundle_v1.json", "proposal_bytes")
            ),
            encode=_proposal_bytes,
        ),
        decoder(
            "header", decode_header, lambda: _column("vectors/proposal_v2.json", "header_bytes"), encode=encode_header
        ),
        decoder("ledger", decode_ledger, lambda: _column("vectors/ledger_v4.json", "bytes"), encode=encode_ledger),
        decoder("log_record", _record, _records),
        decoder("snapshot_manifest", decode_manifest, _manifests, encode=lambda found: found.encoded),
        decoder("network_file", lambda data: decode_network(data, "fuzz"), _networks, refusals=(ConfigurationError,)),
        decoder("access_list_keys", _accesses, _keys, refusals=(MessageRefused,), seeds_may_fail=True),
        decoder(
            "events",
            _events,
            lambda: [bytes([4]) + bytes(300), bytes(65)],
            refusals=(MessageRefused,),
            seeds_may_fail=True,
        ),
        decoder("abci_frames", _abci, lambda: [frame(b"hello") + frame(b""), frame(bytes(300))]),
        decoder("proposal_sign_bytes", read_sign_bytes, lambda: [b"\x00", bytes(80)], seeds_may_fail=True),
        decoder("light_block", _light_block, lambda: [b"{}"], refusals=(LightRefused,), seeds_may_fail=True),
        decoder("frames", decode, _frames, encode=encode),
        decoder("channel", lambda data: list(read_batches(data)), _channels),
        # op-node reads a singular batch from a stream and lets bytes after it be, so Plait does: no encoder to compare.
        decoder("singular_batch", decode_singular, _singular),
        decoder("span_batch", _span, lambda: [b"\x01" + bytes(60)], seeds_may_fail=True),
        decoder("blob", decode_blob, lambda: [encode_blob(b"some data"), b""], seeds_may_fail=True),
        decoder("gossip", lambda data: decode_message(data, ChainId(CHAIN_ID), 4), _gossip, seeds_may_fail=True),
        decoder("flashblock", decode_flashblock, _flashblocks),
        decoder(
            "rollup_json",
            decode_rollup_json,
            lambda: [b"{}", _ROLLUP_JSON],
            refusals=(ConfigurationError,),
            seeds_may_fail=True,
        ),
        Target(
            name="rpc", open=_entry(CHAIN_ID), seeds=_calls, refusals=(_Answered,), seeds_may_fail=True, guided=False
        ),
        Target(
            name="rpc_network",
            open=_entry(None),
            seeds=_calls,
            refusals=(_Answered,),
            seeds_may_fail=True,
            guided=False,
        ),
        *OPSTACK_TARGETS,
    )
}
