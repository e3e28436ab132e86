"""eth_: bundles of one rollup in the shape that searchers' libraries know. Level 7.

They are bundles like any other: `plait_getBundle` follows them by the hash that comes back. A client's own id
(replacementUuid) belongs to whoever signed the request (`plait.rpc.authentication`), per rollup.
"""

from typing import Any, Final

from plait.derivation.attributes import SEQUENCER_FEE_VAULT
from plait.errors import RequestRefused
from plait.mempool import Label
from plait.native import OpenBlock, Session, Transaction
from plait.protocol.grid import slot_at
from plait.rpc.authentication import SIGNATURE_HEADER, Credentials
from plait.rpc.bundle_answers import explain_revert
from plait.rpc.encoding import hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.eth_bundles import ETH_BUNDLE, ETH_CALL_BUNDLE, ETH_CANCEL_BUNDLE, EthBundle, EthCall
from plait.rpc.methods.bundles import decoded_of, simulated
from plait.rpc.parameters import OBJECT_SCHEMA, BlockRef
from plait.rpc.table import Param, method
from plait.types import Bundle, Slot

_NOT_APPLICABLE: Final = 2
_UNSEEN: Final = frozenset({"bundle_message_invalid", "bundle_delivery_failed"})
"""Why a bundle may fail although each of its transactions runs."""
_FEE_VAULT: Final = bytes.fromhex(SEQUENCER_FEE_VAULT)
"""The coinbase of every block."""


def _slot(endpoint: Endpoint) -> Slot:
    return slot_at(endpoint.backend.parameters, endpoint.backend.clock.now_ms())


def _bundle(endpoint: Endpoint, found: EthBundle) -> Bundle:
    return found.bundle(_slot(endpoint), endpoint.backend.parameters, endpoint.rollup.parameters)


def _label(endpoint: Endpoint, credentials: Credentials | None, uuid: str | None) -> Label | None:
    """The label that an id stands for. Raises RpcError when nobody signed a request that has one."""
    if uuid is None:
        return None
    if credentials is None:
        raise RpcError(
            SERVER_ERROR,
            f"a replacementUuid belongs to who signed the request: send {SIGNATURE_HEADER} (address:signature), or use "
            "plait_sendBundle, which replaces by the senders' signature",
            {"code": "requester_unknown"},
        )
    return Label(credentials.requester(), endpoint.rollup_id, uuid)


@method("eth_sendBundle", Param("bundle", ETH_BUNDLE), mode="requester", result=OBJECT_SCHEMA)
async def send_bundle(endpoint: Endpoint, credentials: Credentials | None, found: EthBundle) -> dict[str, Any]:
    """Hands in a bundle of this rollup, bounded by blocks and timestamps; replaces the one with its replacementUuid."""
    label = _label(endpoint, credentials, found.uuid)
    request = None if label is None or credentials is None else credentials.request(label.name)
    pool, backend = endpoint.backend.bundles, endpoint.backend
    decoded = await endpoint.readers.admission.run(decoded_of, endpoint, _bundle(endpoint, found))
    admitted = pool.admit(decoded, backend.clock.now_ms(), _slot(endpoint), label=label, request=request)
    return {"bundleHash": hex_of(admitted)}


@method("eth_cancelBundle", Param("bundle", ETH_CANCEL_BUNDLE), mode="requester", result={"type": "boolean"})
async def cancel_bundle(endpoint: Endpoint, credentials: Credentials | None, uuid: str) -> bool:
    """Withdraws the waiting bundle with a replacementUuid of the request's signer."""
    label = _label(endpoint, credentials, uuid)
    assert label is not None
    assert credentials is not None
    endpoint.backend.bundles.cancel_labelled(label, credentials.request(uuid))
    return True


# ---------------------------------------------------------------- simulation
@method("eth_callBundle", Param("bundle", ETH_CALL_BUNDLE), mode="thread", result=OBJECT_SCHEMA)
def call_bundle(endpoint: Endpoint, asked: EthCall) -> dict[str, Any]:
    """Runs a bundle of this rollup on the open block and keeps nothing: fees, gas and result of each transaction."""
    decoded = endpoint.backend.bundles.decode(_bundle(endpoint, asked.bundle))
    session = endpoint.native.session()
    block = session.open_block
    if block is None:
        raise RequestRefused("the rollup has no open block yet; wait a slot", code="block_not_open")
    _check_context(asked, block)
    failure = simulated(endpoint, decoded).failure
    if failure is not None and failure.code in _UNSEEN:
        raise RpcError(SERVER_ERROR, f"err: {failure.sentence}", {"code": failure.code, "reason": failure.reason})
    results: list[dict[str, Any]] = []
    fees = sent = gas = 0
    for transaction in decoded.legs[0]:
        shown, gas_used, fee, gained = _run(session, transaction, block.base_fee)
        results.append(shown)
        gas, fees, sent = gas + gas_used, fees + fee, sent + gained - fee
    return {
        "bundleHash": hex_of(decoded.hash),
        "bundleGasPrice": str((fees + sent) // gas),
        "coinbaseDiff": str(fees + sent),
        "ethSentToCoinbase": str(sent),
        "gasFees": str(fees),
        "results": results,
        "stateBlockNumber": block.number - 1,
        "totalGasUsed": gas,
    }


def _check_context(asked: EthCall, block: OpenBlock) -> None:
    """The open block is what there is to simulate on: its number, timestamp and state are not a caller's choice."""
    wanted = asked.bundle.last_block
    if wanted is not None and wanted < block.number:
        raise RequestRefused(
            f"block {wanted} is sealed; block {block.number} is open", code="bundle_past_deadline", block=wanted
        )
    if asked.state not in {BlockRef(tag="latest"), BlockRef(tag="pending"), BlockRef(number=block.number - 1)}:
        raise RequestRefused(
            f"bundles are simulated on the open block {block.number}, after block {block.number - 1} ('latest')",
            code="bundle_state_unavailable",
        )
    if asked.timestamp is not None and asked.timestamp != block.timestamp:
        raise RequestRefused(
            f"the open block's timestamp is {block.timestamp}; leave `timestamp` out",
            code="bundle_state_unavailable",
            timestamp=block.timestamp,
        )


def _run(session: Session, transaction: Transaction, base_fee: int) -> tuple[dict[str, Any], int, int, int]:
    """One transaction: what is shown, gas used, priority fee, and what the fee vault gained. Raises RpcError when it
    cannot be applied."""
    ((_, before, _),) = session.accounts([_FEE_VAULT])
    ran = session.run([transaction], on_invalid="stop")
    failure = ran.failure(0)
    if ran.statuses[0] == _NOT_APPLICABLE:
        code, sentence = failure if failure is not None else ("transaction_not_applicable", "it cannot be applied")
        raise RpcError(SERVER_ERROR, f"err: {sentence}; txhash {hex_of(transaction.hash)}", {"code": code})
    ((_, after, _),) = session.accounts([_FEE_VAULT])
    gas_used, gained, output = ran.transaction_gas_used(0), after - before, ran.output(0)
    fee = gas_used * (transaction.effective_priority_fee(base_fee) or 0)
    shown: dict[str, Any] = {
        "txHash": hex_of(transaction.hash),
        "fromAddress": hex_of(transaction.sender),
        "toAddress": None if transaction.to is None else hex_of(transaction.to),
        "gasUsed": gas_used,
        "gasPrice": str(gained // gas_used),
        "gasFees": str(fee),
        "coinbaseDiff": str(gained),
        "ethSentToCoinbase": str(gained - fee),
    }
    if failure is None:
        shown["value"] = hex_of(output)
    else:
        reason = explain_revert(output)["revertReason"]
        shown |= {"error": failure[1] if reason is None else f"execution reverted: {reason}", "revert": hex_of(output)}
    return shown, gas_used, fee, gained
