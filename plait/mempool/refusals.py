"""Why the pool refuses or drops a transaction: stable codes, the phrase that clients look for, and what to do about it.

Libraries recognise an Ethereum node's answer by how its message begins, so every message starts with go-ethereum's
phrase where it has one, goes on with the offending values, and ends with a sentence that helps. The code goes into
`error.data.code`.

Level 2, pure. `docs/errors.md` lists every code; a test compares.
"""

from typing import Final, NamedTuple

from plait.errors import TransactionRefused


class Reason(NamedTuple):
    """One code's texts."""

    phrase: str
    """How the message begins; go-ethereum's own words where it has any."""
    advice: str
    """A sentence that helps the sender."""


REASONS: Final[dict[str, Reason]] = {
    # found while decoding (native core)
    "rlp_malformed": Reason(
        "rlp: malformed transaction", "Send the signed transaction's canonical encoding as one 0x string."
    ),
    "rlp_trailing_bytes": Reason(
        "rlp: input contains more than one value", "Remove the bytes after the end of the transaction."
    ),
    "transaction_type_unsupported": Reason(
        "transaction type not supported", "Use a legacy, access list (1), dynamic fee (2) or set code (4) transaction."
    ),
    "chain_id_wrong": Reason(
        "invalid sender: invalid chain id for signer", "Sign it for the chain id of this endpoint."
    ),
    "chain_id_missing": Reason(
        "only replay-protected (EIP-155) transactions allowed over RPC",
        "Sign it with a chain id, or it could be replayed elsewhere.",
    ),
    "signature_invalid": Reason("invalid sender: invalid transaction v, r, s values", "Sign the transaction again."),
    "signature_high_s": Reason(
        "invalid sender: invalid transaction v, r, s values", "Use the lower of the two possible values of s (EIP-2)."
    ),
    "transaction_too_large": Reason("oversized data", "Split the transaction; the limit is in bytes of its encoding."),
    "fee_cap_below_tip": Reason(
        "max priority fee per gas higher than max fee per gas", "Raise maxFeePerGas or lower the priority fee."
    ),
    "nonce_max": Reason("nonce has max value", "This account cannot send any more (EIP-2681)."),
    "authorization_list_empty": Reason(
        "set code tx must have at least one authorization tuple",
        "Add an authorization or use a dynamic fee transaction.",
    ),
    "creation_unsupported": Reason("EIP-7702 transaction cannot be used to create contract", "Set the field `to`."),
    "init_code_too_large": Reason("max initcode size exceeded", "Split the contract; EIP-3860 bounds its init code."),
    # found against the block's rules
    "intrinsic_gas_too_low": Reason("intrinsic gas too low", "Raise the gas limit to at least the minimum."),
    "gas_limit_exceeds_block": Reason("exceeds block gas limit", "Lower the gas limit; no block has room for it."),
    "da_exceeds_block": Reason(
        "exceeds block data availability limit", "Split the transaction's data; no block has room for it."
    ),
    "fee_cap_too_low": Reason(
        "max fee per gas less than block base fee", "Raise maxFeePerGas; it is too low to be included soon."
    ),
    # found against the sender's account
    "sender_not_eoa": Reason("sender not an eoa", "Accounts with contract code cannot sign transactions (EIP-3607)."),
    "nonce_too_low": Reason("nonce too low", "Sign it again with the next nonce."),
    "nonce_gap_too_large": Reason("nonce too high", "Send the missing nonces first."),
    "insufficient_funds": Reason(
        "insufficient funds for gas * price + value",
        "Add funds, or lower value, gas or fee; L1 and operator fees count too.",
    ),
    # found against the pool
    "already_known": Reason("already known", "It is in the pool already; wait for its receipt."),
    "replacement_underpriced": Reason(
        "replacement transaction underpriced",
        "Raise both maxFeePerGas and maxPriorityFeePerGas of the earlier one by 10 %.",
    ),
    "account_limit_exceeded": Reason(
        "account limit exceeded", "Wait until earlier transactions of this sender are decided."
    ),
    "underpriced": Reason(
        "transaction underpriced", "The pool is full; raise the priority fee above the lowest one it holds."
    ),
    "pool_full": Reason("txpool is full", "Try again in a moment."),
    "rollup_unknown": Reason("unknown rollup", "Use the chain id of a rollup that this node runs."),
    "remote_unavailable": Reason(
        "state not available", "The node that holds this rollup's state does not answer now; try again in a moment."
    ),
    "unwound": Reason("taken back by L1", "It waits again if it still can; if not, send it again."),
    "rollup_left": Reason("rollup has left the network", "It goes on elsewhere; its last block here is sealed."),
    # reasons to leave the pool
    "replaced": Reason("replaced", "A transaction with the same nonce and a higher fee took its place."),
    "nonce_used": Reason(
        "nonce used by another transaction", "Another transaction of this sender with its nonce was decided."
    ),
    "evicted": Reason(
        "evicted", "The pool was full and its effective priority fee was the lowest; raise it and send it again."
    ),
    "expired": Reason("expired", "It waited too long; send it again, after the missing nonces if there are any."),
}
"""Every code the pool itself gives. Codes of the native core's execution (status 2) come through `drop` unchanged."""


def refusal(code: str, details: str = "", **fields: object) -> TransactionRefused:
    """The error of a code: `phrase: details. Advice`; `fields` go into `error.data`."""
    return TransactionRefused(sentence(code, details), code=code, **fields)


def sentence(code: str, details: str = "") -> str:
    """The full message of a code."""
    reason = REASONS[code]
    return f"{reason.phrase}: {details}. {reason.advice}" if details else f"{reason.phrase}. {reason.advice}"
