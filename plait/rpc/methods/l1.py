"""plait_: what this node signs for Plait's contracts on L1, and proofs against what they hold. Level 7."""

from typing import Any, Final

from plait.l1.contract_proofs import AccountProof, Place, account_proof
from plait.l1.gathering import to_json
from plait.rpc.encoding import checksummed, hex_of
from plait.rpc.endpoint import Endpoint
from plait.rpc.errors import SERVER_ERROR, RpcError
from plait.rpc.methods.blocks import nullable
from plait.rpc.methods.proofs import header_bytes_of
from plait.rpc.parameters import ADDRESS, OBJECT_SCHEMA
from plait.rpc.table import Param, method
from plait.types import Address

_ACCOUNT_EXAMPLE: Final = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


@method("plait_getL1Attestations", mode="thread", scope="both", result=nullable(OBJECT_SCHEMA), example=())
def get_attestations(endpoint: Endpoint) -> dict[str, Any] | None:
    """What this node's attester signs for PlaitRegistry now: the newest checkpoints, the next set; null without one."""
    checkpoints = endpoint.backend.checkpoints
    found = None if checkpoints is None else checkpoints.attestations()
    return None if found is None else to_json(found)


@method("plait_getL1Checkpoints", mode="thread", scope="both", result=nullable(OBJECT_SCHEMA), example=())
def get_checkpoints(endpoint: Endpoint) -> dict[str, Any] | None:
    """State of the checkpoints on L1 as this node sees it, who pays, and what is wrong; null where it does not look."""
    checkpoints = endpoint.backend.checkpoints
    return None if checkpoints is None else checkpoints.status()


@method("plait_getL1AccountProof", Param("address", ADDRESS), mode="thread", scope="both", result=OBJECT_SCHEMA)
def get_account_proof(endpoint: Endpoint, address: bytes) -> dict[str, Any]:
    """Proof of a ledger account's balance against the newest checkpoint on L1, in the contracts' order of fields."""
    checkpoints = endpoint.backend.checkpoints
    point = None if checkpoints is None else checkpoints.proven_point()
    if point is None:
        problem = (
            "this node holds no height that L1 has a checkpoint of; it needs [attester] in opstack.toml, and the next "
            "checkpoint"
        )
        raise RpcError(SERVER_ERROR, problem, {"code": "l1_checkpoint_missing"})
    account = point.ledger.economy.accounts.get(address)
    record = endpoint.backend.log.read(point.height)
    if account is None or record is None:
        problem = f"the ledger of the checkpoint of height {point.height} has no account {checksummed(address)}"
        raise RpcError(SERVER_ERROR, problem, {"code": "l1_account_missing", "height": point.height})
    return {
        "checkpoint": point.height,
        "appHash": hex_of(point.app_hash),
        "balance": hex(account.balance),
        "headers": [hex_of(header_bytes_of(record.proposal))],
        "proof": _account_json(account_proof(point.ledger, Address(address))),
    }


def _account_json(proof: AccountProof) -> dict[str, Any]:
    return {
        "row": hex_of(proof.row),
        "bucket": _place_json(proof.bucket),
        "branchPaths": [list(map(hex_of, path)) for path in proof.branch_paths],
        "economyPath": list(map(hex_of, proof.economy_path)),
        "ledgerLeaves": proof.ledger_leaves,
        "ledgerPath": list(map(hex_of, proof.ledger_path)),
    }


def _place_json(place: Place) -> dict[str, Any]:
    return {"index": place.index, "count": place.count, "path": list(map(hex_of, place.path))}
