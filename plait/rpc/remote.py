"""What the server does about rollups whose state another node holds (docs/opstack/remote-state.md).

The pools look senders up on the event loop, where nothing may wait for a node. So everything that admission will look
at is read in a reader thread before; what could not be read is refused, and nothing of it is kept. Level 7.
"""

from collections.abc import Iterable, Mapping, Sequence

from plait.execution.bundles import DecodedBundle
from plait.native import PENDING, NativeError, Refusal, Rollup, Transaction
from plait.native.unread import is_unread
from plait.protocol.views import RollupHandle
from plait.types import RollupId


def read_senders(rollup: Rollup, decoded: Iterable[Transaction | Refusal]) -> NativeError | None:
    """Reads what the pools look at of these transactions' senders, in a reader thread; what it failed with."""
    transactions = [item for item in decoded if isinstance(item, Transaction)]
    return read_accounts(rollup, [transaction.sender for transaction in transactions], transactions)


def read_accounts(
    rollup: Rollup, addresses: Iterable[bytes], transactions: Sequence[Transaction] = ()
) -> NativeError | None:
    """Reads accounts with their codes, and what fees of transactions are reckoned from; what it failed with."""
    wanted = list(dict.fromkeys(addresses))
    try:
        if transactions:
            rollup.additional_costs(transactions, PENDING)
        for address, (_, _, has_code) in zip(wanted, rollup.accounts(wanted, PENDING), strict=True):
            if has_code:
                rollup.code(address, PENDING)
    except NativeError as error:
        if not is_unread(error):
            raise
        return error
    return None


def read_bundle(rollups: Mapping[RollupId, RollupHandle], bundle: DecodedBundle) -> None:
    """Reads what the pool looks at of a bundle's senders, in a reader thread. Raises NativeError."""
    for leg, transactions in zip(bundle.terms.legs, bundle.legs, strict=True):
        native = rollups[leg.rollup_id].native
        failed = read_senders(native, transactions) if native.is_remote else None
        if failed is not None:
            raise failed
