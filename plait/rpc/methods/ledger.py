"""plait_: the network's own ledger: accounts, stake, leaders, governance, registry, and signed actions. Level 7.

Amounts of PLAIT are hex quantities of base units; other numbers are JSON numbers. Every answer is of the last decided
sub-block.
"""

from itertools import islice
from typing import Any, Final

from plait.codec.action import body_from_json, encode_action, typed_data
from plait.errors import ActionRefused, CodecError
from plait.ledger.economy import Economy
from plait.ledger.proposal_records import proposal_key
from plait.ledger.registry import published_terms
from plait.limits import LEADERS_AHEAD_DEFAULT, LEADERS_AHEAD_MAX
from plait.rpc.encoding import checksummed, hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import INVALID_PARAMS, RpcError
from plait.rpc.ledger_answers import (
    delegations_answer,
    departed_answer,
    parameters_answer,
    proposal_answer,
    rollup_answer,
    terms_answer,
    validator_answer,
    validators_answer,
)
from plait.rpc.methods.blocks import nullable
from plait.rpc.parameters import ADDRESS, COUNT, DATA, HASH, HASH_SCHEMA, OBJECT_SCHEMA, TEXT, Kind
from plait.rpc.table import Param, method
from plait.types import Address, Amount, ConsensusAddress
from plait.types.action import Action

_ACCOUNT_EXAMPLE: Final = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
_LIST_SCHEMA: Final = {"type": "array", "items": OBJECT_SCHEMA}


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object of fields is expected")
    return value


_FIELDS: Final = Kind(_mapping, OBJECT_SCHEMA)


def _economy(endpoint: Endpoint) -> Economy:
    return endpoint.backend.economy


# ---------------------------------------------------------------- accounts and stake
@method("plait_getAccount", Param("address", ADDRESS), scope="both", result=OBJECT_SCHEMA, example=(_ACCOUNT_EXAMPLE,))
def get_account(endpoint: Endpoint, address: bytes) -> dict[str, Any]:
    """An account of the ledger: balance, decided nonce, the nonce to sign next, and what an action costs."""
    economy = _economy(endpoint)
    account = economy.accounts.get(address)
    return {
        "address": checksummed(address),
        "balance": hex(0 if account is None else account.balance),
        "nonce": 0 if account is None else account.nonce,
        "nextNonce": endpoint.backend.actions.next_nonce(Address(address)),
        "actionFee": hex(economy.parameters.action_fee),
        "isOperator": economy.validators.get(address) is not None,
    }


@method("plait_getValidators", mode="thread", scope="both", result=_LIST_SCHEMA, example=())
def get_validators(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Every validator with stake, commission, status and what it signed and missed; the greatest power first."""
    return validators_answer(_economy(endpoint))


@method(
    "plait_getValidator",
    Param("operator", ADDRESS),
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=(_ACCOUNT_EXAMPLE,),
)
def get_validator(endpoint: Endpoint, operator: bytes) -> dict[str, Any] | None:
    """The validator of an operator, or null."""
    economy = _economy(endpoint)
    validator = economy.validators.get(operator)
    return None if validator is None else validator_answer(economy, operator, validator)


@method(
    "plait_getDelegations",
    Param("delegator", ADDRESS),
    mode="thread",
    scope="both",
    result=OBJECT_SCHEMA,
    example=(_ACCOUNT_EXAMPLE,),
)
def get_delegations(endpoint: Endpoint, delegator: bytes) -> dict[str, Any]:
    """What an account has bonded to which validator, what that has earned so far, and what is unbonding until when."""
    return delegations_answer(_economy(endpoint), Address(delegator))


@method(
    "plait_getLeader",
    Param("count", COUNT, optional=True, default=LEADERS_AHEAD_DEFAULT),
    scope="both",
    result=OBJECT_SCHEMA,
    example=(4,),
)
def get_leader(endpoint: Endpoint, count: int) -> dict[str, Any]:
    """Who leads the height in progress, who stands in for it, and who leads the next heights."""
    if not 1 <= count <= LEADERS_AHEAD_MAX:
        raise RpcError(INVALID_PARAMS, f"count must be from 1 to {LEADERS_AHEAD_MAX}", {"code": "count_out_of_range"})
    economy, first = _economy(endpoint), endpoint.backend.info().height + 1
    if not economy.rotation.current.addresses:
        return {"height": first, "leader": None, "standIn": None, "next": []}
    leaders = [proposers.leader for proposers in islice(economy.rotation.heights(), count + 1)]
    shown = [_leader(economy, first + offset, address) for offset, address in enumerate(leaders)]
    stand_in = _leader(economy, first, economy.rotation.leader(0, 1))
    return {"height": first, "leader": shown[0], "standIn": stand_in, "next": shown[1:]}


def _leader(economy: Economy, height: int, address: ConsensusAddress) -> dict[str, Any]:
    operator = economy.keys.get(address)
    validator = None if operator is None else economy.validators.get(operator)
    return {
        "height": height,
        "consensusAddress": hex_of(address),
        "operator": None if operator is None else checksummed(operator),
        "name": None if validator is None else validator.name,
    }


# ---------------------------------------------------------------- governance and registry
@method("plait_getProposals", mode="thread", scope="both", result=_LIST_SCHEMA, example=())
def get_proposals(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Open and recently ended proposals, the newest first."""
    economy = _economy(endpoint)
    found = [proposal_answer(economy, record, votes=False) for _, record in economy.proposals.items()]
    return found[::-1]


@method(
    "plait_getProposal",
    Param("proposalId", COUNT),
    mode="thread",
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=(1,),
)
def get_proposal(endpoint: Endpoint, proposal_id: int) -> dict[str, Any] | None:
    """A proposal with its votes and, while they come in, the tally as things are."""
    economy = _economy(endpoint)
    record = economy.proposals.get(proposal_key(proposal_id)) if proposal_id < 2**64 else None
    return None if record is None else proposal_answer(economy, record, votes=True)


@method("plait_getRollups", mode="thread", scope="both", result=OBJECT_SCHEMA, example=())
def get_rollups(endpoint: Endpoint) -> dict[str, Any]:
    """The registry: mode, published fees, every rollup with owner, terms, escrow and schedule, and who left."""
    economy = _economy(endpoint)
    return {
        "mode": str(economy.mode),
        "publishedTerms": terms_answer(published_terms(economy)),
        "rollups": [rollup_answer(economy, entry) for _, entry in economy.rollups.items()],
        "departed": [departed_answer(record) for _, record in economy.departed.items()],
    }


@method("plait_getLedgerParameters", mode="thread", scope="both", result=OBJECT_SCHEMA, example=())
def get_ledger_parameters(endpoint: Endpoint) -> dict[str, Any]:
    """Governed values with their bounds, the supply and where it is, epoch, pause and planned upgrade."""
    return parameters_answer(_economy(endpoint))


# ---------------------------------------------------------------- actions
@method("plait_sendAction", Param("action", DATA), scope="both", result=HASH_SCHEMA)
def send_action(endpoint: Endpoint, action: bytes) -> str:
    """Hands in a signed action in its canonical bytes; answers its hash."""
    (found,) = endpoint.backend.actions.admit([action], endpoint.backend.clock.now_ms())
    if isinstance(found, ActionRefused):
        raise found
    return hex_of(found.hash)


@method(
    "plait_sendTypedAction",
    Param("kind", TEXT),
    Param("message", _FIELDS),
    Param("signature", DATA),
    scope="both",
    result=HASH_SCHEMA,
)
def send_typed_action(endpoint: Endpoint, kind: str, message: dict[str, Any], signature: bytes) -> str:
    """Hands in an action as a wallet signed it: primary type, message and eth_signTypedData_v4's answer."""
    fields = dict(message)
    nonce, max_fee = _head(fields.pop("nonce", None), 64), _head(fields.pop("maxFee", None), 128)
    body = body_from_json(kind, fields)
    if len(signature) == 65 and signature[64] < 2:
        signature = signature[:64] + bytes((signature[64] + 27,))
    return send_action(
        endpoint, encode_action(Action(nonce=nonce, max_fee=Amount(max_fee), body=body, signature=signature))
    )


@method(
    "plait_getActionStatus",
    Param("actionHash", HASH),
    scope="both",
    result=nullable(OBJECT_SCHEMA),
    example=("0x" + "11" * 32,),
)
def get_action_status(endpoint: Endpoint, action_hash: bytes) -> dict[str, Any] | None:
    """What became of an action: pending, queued, decided in a height, or dropped with the reason; null when unknown."""
    found = endpoint.backend.actions.status(action_hash)
    if found is None:
        return None
    return {"status": found.status, "height": found.height, "code": found.code, "sentence": found.sentence}


@method(
    "plait_getActionTypedData",
    Param("kind", TEXT),
    Param("fields", _FIELDS),
    Param("from", ADDRESS, optional=True),
    Param("nonce", COUNT, optional=True),
    scope="both",
    result=OBJECT_SCHEMA,
    example=("Transfer", {"to": _ACCOUNT_EXAMPLE, "amount": "1"}, _ACCOUNT_EXAMPLE),
)
def get_action_typed_data(
    endpoint: Endpoint, kind: str, fields: dict[str, Any], sender: bytes | None, nonce: int | None
) -> dict[str, Any]:
    """What a wallet signs (EIP-712) for an action of a kind with these fields, at the account's next nonce."""
    body = body_from_json(kind, fields)
    if nonce is None:
        nonce = 0 if sender is None else endpoint.backend.actions.next_nonce(Address(sender))
    fee = Amount(_economy(endpoint).parameters.action_fee)
    return typed_data(endpoint.backend.parameters.network_id, nonce, fee, body)


def _head(value: object, bits: int) -> int:
    """A message's nonce or maxFee.

    Raises:
        CodecError: `action_malformed`.
    """
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if text.isascii() and text.isdigit() and len(text) < 40 and int(text) < 2**bits:
        return int(text)
    raise CodecError("nonce and maxFee of the message must be decimal integers", code="action_malformed")
