"""What does a sub-block's ledger step cost every node?

The economy's part of one sub-block, from agreed data to the new root, in CPU time of one thread: without actions, with
a third of the validators absent, and with a full load of delegations on a ledger of many accounts. No peer is measured:
the bound is the sub-block itself.
"""

from hashlib import sha256
from time import process_time

from bench.report import Result
from plait.ledger import steps
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy, decode_economy, economy_root, encode_economy
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, genesis_economy
from plait.ledger.parameters import TOKEN
from plait.limits import ACTIONS_PER_SUB_BLOCK_MAX
from plait.types import (
    Address,
    Agreed,
    BlockIdFlag,
    CommitVote,
    Height,
    Milliseconds,
    NetworkId,
    NetworkParameters,
    Seconds,
    Slot,
)
from plait.types.action import Delegate, SignedAction
from plait.types.quantities import Amount

VALIDATORS = 100
NETWORK = NetworkParameters(
    network_id=NetworkId(1), genesis_time_s=Seconds(1_700_000_000), slot_ms=Milliseconds(1_000), sub_blocks_per_slot=4
)


def address(number: int) -> Address:
    """An account."""
    return Address(sha256(b"%d" % number).digest()[:20])


def economy_of(accounts: int) -> Economy:
    """A network of 100 validators and so many accounts."""
    validators = tuple(
        GenesisValidator(
            operator=address(-i), public_key=sha256(b"key %d" % i).digest(), stake=(i + 1) * 1_000 * TOKEN, name=f"{i}"
        )
        for i in range(1, VALIDATORS + 1)
    )
    balances = tuple((address(i), 1_000 * TOKEN) for i in range(accounts))
    return genesis_economy(GenesisEconomy(accounts=balances, validators=validators))


def context(height: int) -> steps.SubBlockContext:
    """Of a height."""
    time_ms = NETWORK.genesis_time_s * 1_000 + 250 * height
    return steps.SubBlockContext(
        height=Height(height), slot=Slot(height // 4), time_ms=Milliseconds(time_ms), network=NETWORK
    )


def step(
    economy: Economy, height: int, votes: tuple[CommitVote, ...], actions: list[SignedAction] | None = None
) -> Economy:
    """One sub-block, its root included."""
    draft, ctx = Draft(economy), context(height)
    steps.begin(draft, ctx, Agreed(proposer=economy.rotation.current.leader, votes=votes))
    for action in actions or ():
        steps.act(draft, ctx, action)
    steps.end(draft, ctx, {})
    after = draft.freeze()
    economy_root(after)
    return after


def run(*, quick: bool) -> Result:
    """Measures."""
    result = Result("ledger_steps")
    heights, accounts = (100, 1_000) if quick else (900, 100_000)
    economy = economy_of(10)
    first = economy.rotation.current
    for absent in (0, VALIDATORS // 3):
        flags = [BlockIdFlag.ABSENT] * absent + [BlockIdFlag.COMMIT] * (VALIDATORS - absent)
        votes = tuple(map(CommitVote, first.addresses, first.powers, flags))
        at, began_s = economy, process_time()
        for height in range(1, heights + 1):
            at = step(at, height, votes)
        per_height_ms = (process_time() - began_s) * 1e3 / heights
        result.figure(f"height without actions, {absent} of {VALIDATORS} validators absent", per_height_ms, "ms CPU")
    large = economy_of(accounts)
    economy_root(large)
    operators = [Address(operator) for operator, _ in large.validators.items()]
    actions = []
    for number in range(ACTIONS_PER_SUB_BLOCK_MAX):
        body = Delegate(validator=operators[number % VALIDATORS], amount=Amount(TOKEN))
        raw = b"%d" % number
        actions.append(
            SignedAction(
                raw=raw, hash=sha256(raw).digest(), sender=address(number), nonce=0, max_fee=Amount(TOKEN), body=body
            )
        )
    began_s = process_time()
    after = step(large, 1, (), actions)
    name = f"height with {len(actions)} delegations, {accounts} accounts"
    result.figure(name, (process_time() - began_s) * 1e3, "ms CPU")
    began_s = process_time()
    data = encode_economy(after)
    decode_economy(data)
    result.figure(f"encode and decode {accounts} accounts", (process_time() - began_s) * 1e3, "ms CPU")
    result.figure("its size", len(data) / 2**20, "MiB")
    result.note("signatures of actions are checked before, once per node and action; CPU time of one thread")
    return result


__all__ = ["run"]
