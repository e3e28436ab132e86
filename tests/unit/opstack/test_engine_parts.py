"""The parts of the Engine API driver by themselves: secrets and tokens, fork tables, attributes, refusals, states."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from plait.derivation.execution_payload import ExecutionPayload, PayloadEnvelope
from plait.derivation.rollup_config import BlockId
from plait.errors import CodecError, ConfigurationError, InvariantBroken, Unavailable
from plait.rollups.opstack import handover
from plait.rollups.opstack.attributes_json import (
    FeeParameters,
    PayloadAttributes,
    attributes_json,
    attributes_of,
    read_extra_data,
)
from plait.rollups.opstack.driver_state import DriverState, EngineStatus, check_step
from plait.rollups.opstack.engine_answers import (
    EngineRefused,
    EngineUnreachable,
    ForcedRefusal,
    read_forced,
    refusal,
)
from plait.rollups.opstack.engine_client import EngineClient
from plait.rollups.opstack.forks import ENGINE_FORKS, METHODS, at_least
from plait.rollups.opstack.jwt import read_secret, token
from plait.types import Address, BlockNumber, ChainId, Gas, Hash32, Seconds, Wei


# ---------------------------------------------------------------- secrets
def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", ["ab" * 32, "0x" + "AB" * 32, " " + "ab" * 32 + "\n"])
def test_a_secret_file_holds_64_digits(tmp_path: Path, text: str) -> None:
    assert read_secret(write(tmp_path / "jwt.hex", text)) == b"\xab" * 32


@pytest.mark.parametrize(
    ("text", "mode", "word"),
    [
        ("ab" * 31, 0o600, "64 hexadecimal"),
        ("ab" * 33, 0o600, "64 hexadecimal"),
        ("xy" * 32, 0o600, "64 hexadecimal"),
        ("ab " * 32, 0o600, "64 hexadecimal"),
        ("", 0o600, "64 hexadecimal"),
        ("ab" * 10_000, 0o600, "64 hexadecimal"),
        ("\u00e4" * 64, 0o600, "64 hexadecimal"),
        ("ab" * 32, 0o604, "everybody"),
    ],
)
def test_any_other_secret_file_is_refused_without_its_content(tmp_path: Path, text: str, mode: int, word: str) -> None:
    path = write(tmp_path / "jwt.hex", text, mode)
    with pytest.raises(ConfigurationError, match=word) as caught:
        read_secret(path)
    assert caught.value.code == "engine_jwt_unusable"
    assert not text or text[:20] not in caught.value.message


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ConfigurationError, match=str(path)) as caught:
            read_secret(path)
        assert caught.value.code == "engine_jwt_unusable"


def test_a_token_is_hs256_over_its_time() -> None:
    header, claims, signature = token(b"\x01" * 32, 1_700_000_000).split(".")

    def decode(part: str) -> bytes:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    assert json.loads(decode(header)) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(decode(claims)) == {"iat": 1_700_000_000}
    expected = hmac.new(b"\x01" * 32, f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert decode(signature) == expected


# ---------------------------------------------------------------- forks
def test_every_fork_has_the_methods_of_the_specification() -> None:
    expected = {
        "ecotone": (3, 3), "fjord": (3, 3), "granite": (3, 3), "holocene": (3, 3), "isthmus": (4, 4), "jovian": (4, 4),
        "karst": (5, 4),
    }  # fmt: skip
    assert tuple(expected) == ENGINE_FORKS
    for fork, (get, new) in expected.items():
        assert METHODS[fork].names() == (  # type: ignore[index]
            "engine_forkchoiceUpdatedV3",
            f"engine_getPayloadV{get}",
            f"engine_newPayloadV{new}",
        )
    assert [fork for fork in ENGINE_FORKS if METHODS[fork].min_base_fee] == ["jovian", "karst"]
    assert at_least("karst", "jovian")
    assert not at_least("isthmus", "jovian")


# ---------------------------------------------------------------- attributes
def attributes(eip1559: FeeParameters | None) -> PayloadAttributes:
    return PayloadAttributes(
        timestamp=Seconds(255),
        prev_randao=Hash32(b"\x01" * 32),
        fee_recipient=Address(b"\x02" * 20),
        parent_beacon_block_root=Hash32(b"\x03" * 32),
        transactions=(b"\x7e\x01", b"\x02\x02"),
        gas_limit=Gas(30_000_000),
        eip1559=eip1559,
    )


def test_attributes_have_the_fields_of_their_fork_and_a_plain_minimum_base_fee() -> None:
    shown = json.loads(attributes_json(attributes(FeeParameters(250, 6, Wei(7))), "jovian"))
    assert shown == {
        "timestamp": "0xff",
        "prevRandao": "0x" + "01" * 32,
        "suggestedFeeRecipient": "0x" + "02" * 20,
        "withdrawals": [],
        "parentBeaconBlockRoot": "0x" + "03" * 32,
        "transactions": ["0x7e01", "0x0202"],
        "noTxPool": True,
        "gasLimit": "0x1c9c380",
        "eip1559Params": "0x000000fa00000006",
        "minBaseFee": 7,
    }
    isthmus = json.loads(attributes_json(attributes(FeeParameters(250, 6)), "isthmus"))
    assert shown.keys() - isthmus.keys() == {"minBaseFee"}
    ecotone = json.loads(attributes_json(attributes(None), "ecotone"))
    assert isthmus.keys() - ecotone.keys() == {"eip1559Params"}
    with pytest.raises(CodecError):
        attributes_json(attributes(None), "holocene")


def test_extra_data_says_the_fee_parameters() -> None:
    assert read_extra_data(b"") is None
    assert read_extra_data(bytes.fromhex("00000000fa00000006")) == FeeParameters(250, 6)
    jovian = bytes.fromhex("01000000fa00000006") + (10**9).to_bytes(8, "big")
    assert read_extra_data(jovian) == FeeParameters(250, 6, Wei(10**9))
    for wrong in (b"\x00", b"\x01" + bytes(8), b"\x00" + bytes(16), b"\x02" + bytes(16), bytes(18), bytes(32)):
        with pytest.raises(CodecError):
            read_extra_data(wrong)


def test_payloads_before_ecotone_are_refused() -> None:
    payload = ExecutionPayload(
        parent_hash=Hash32(bytes(32)), fee_recipient=Address(bytes(20)), state_root=Hash32(bytes(32)),
        receipts_root=Hash32(bytes(32)), logs_bloom=bytes(256), prev_randao=Hash32(bytes(32)),
        block_number=BlockNumber(1), gas_limit=Gas(1), gas_used=Gas(0), timestamp=Seconds(1), extra_data=b"",
        base_fee_per_gas=Wei(1), block_hash=Hash32(bytes(32)), transactions=(),
    )  # fmt: skip
    with pytest.raises(CodecError, match="Ecotone"):
        attributes_of(PayloadEnvelope(payload=payload))


# ---------------------------------------------------------------- refusals
HASH = "0x" + "5a" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"failed to force-include tx: {HASH} type: 2 sender: 0x{'ab' * 20} nonce: 4, err: nonce too high: address "
            f"0x{'ab' * 20}, tx: 4 state: 3",
            ForcedRefusal(Hash32(b"\x5a" * 32), None, f"nonce too high: address 0x{'ab' * 20}, tx: 4 state: 3"),
        ),
        (
            f"Invalid payload attributes: failed to force-include tx: {HASH} type: 0 sender: 0x00 nonce: 0, err: gas "
            "limit reached",
            ForcedRefusal(Hash32(b"\x5a" * 32), None, "gas limit reached"),
        ),
        (
            "transaction 17 is not valid: rlp: expected input list",
            ForcedRefusal(None, 17, "rlp: expected input list"),
        ),
        ("missing L1 attributes deposit transaction", None),
        ("failed to force-include tx: 0x1234 type: 2, err: nonce", None),
        ("", None),
    ],
)
def test_the_transaction_that_a_build_failed_at_is_read_from_op_geths_words(
    text: str, expected: ForcedRefusal | None
) -> None:
    assert read_forced(text) == expected


def test_error_numbers_of_the_engine_api_have_codes() -> None:
    codes = {
        -38001: "engine_payload_unknown", -38002: "engine_forkchoice_invalid", -38003: "engine_attributes_invalid",
        -38004: "engine_request_too_large", -38005: "engine_fork_mismatch", -32602: "engine_refused",
    }  # fmt: skip
    for number, code in codes.items():
        error = refusal("engine_x", {"code": number, "message": "words", "data": {"err": "more words"}})
        assert isinstance(error, EngineRefused)
        assert error.code == code
        assert error.fields["detail"] == "words: more words"
    long = refusal("engine_x", {"code": -1, "message": "x" * 1_000_000})
    assert len(str(long)) < 3_000
    for nonsense in (None, [], {}, {"code": "x"}, "text"):
        assert refusal("engine_x", nonsense).code == "engine_answer_malformed"


# ---------------------------------------------------------------- states
def test_only_the_drawn_steps_of_the_state_machine_are_possible() -> None:
    drawn = {
        ("connecting", "syncing"), ("connecting", "stopped"), ("syncing", "following"), ("syncing", "connecting"),
        ("syncing", "stopped"), ("following", "syncing"), ("following", "connecting"), ("following", "stopped"),
        ("stopped", "connecting"),
    }  # fmt: skip
    for now in DriverState:
        for then in DriverState:
            if now is then or (str(now), str(then)) in drawn:
                check_step(now, then)
            else:
                with pytest.raises(InvariantBroken):
                    check_step(now, then)


def test_statistics_are_numbers() -> None:
    status = EngineStatus(chain_id=ChainId(901), url="", state=DriverState.STOPPED, imported=4)
    found = status.statistics()
    assert (found["state"], found["imported"]) == (3, 4)
    assert all(type(value) is int for value in found.values())
    assert BlockId(BlockNumber(1), Hash32(bytes(32))).number == 1


async def test_an_unreachable_engine_is_named_without_what_its_url_hides() -> None:
    for url, shown in (
        ("http://user:secret@127.0.0.1:9/secret?key=secret", "http://127.0.0.1:9"),
        ("http://[::1:9/secret", "it is no URL"),
    ):
        async with EngineClient(url, b"\x01" * 32, timeout_s=2) as client:
            with pytest.raises(EngineUnreachable) as caught:
                await client.chain_id()
        assert caught.value.code == "engine_unreachable"
        assert shown in caught.value.message
        assert "secret" not in caught.value.message


# ---------------------------------------------------------------- handover
class Scripted:
    """An op-node that stops, and then answers what the test says."""

    url = "http://op-node"

    def __init__(self, starts: bool) -> None:
        self.starts = starts
        self.sequencing = True

    async def check(self, config: object) -> None: ...

    async def is_sequencing(self) -> bool:
        return self.sequencing

    async def stop(self) -> Hash32:
        self.sequencing = False
        return Hash32(b"\x07" * 32)

    async def start(self, head: Hash32) -> None:
        if not self.starts:
            raise EngineUnreachable("gone")
        assert head == b"\x07" * 32
        self.sequencing = True


@pytest.mark.parametrize("starts", [True, False])
async def test_a_take_that_fails_leaves_a_sequencer_or_says_that_there_is_none(
    starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def copied(until: BlockNumber | None) -> Hash32:
        assert until is None, "the engine is lost before its number is known"
        return Hash32(bytes(32))

    async def lost(*_: object) -> BlockNumber:
        raise EngineUnreachable("the engine is gone")

    monkeypatch.setattr(handover, "_number_of", lost)
    node: Any = Scripted(starts)
    unused: Any = None
    with pytest.raises(Unavailable) as caught:
        await handover.take_with(node, unused, copied, unused)
    assert caught.value.code == ("engine_unreachable" if starts else "handover_stopped")
    assert node.sequencing is starts
    assert starts or "0x" + "07" * 32 in caught.value.message
