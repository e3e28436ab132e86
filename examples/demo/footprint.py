"""Proof that something left no trace: what people and contracts have before and after, and the blocks in between.

Three things have to hold on every rollup, or the demonstration fails:
    - every figure that is shown (nonces, ether, tokens, reserves) is equal;
    - every account involved has the same nonce, balance, code and storage root, as eth_getProof gives them (the fee
      vaults are among them, so nobody paid gas);
    - the blocks in between hold no transaction but the deposit that begins every block of the OP Stack.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eth_typing import ChecksumAddress
from web3 import Web3
from web3.contract import Contract

from examples.demo.chain import Chain
from examples.demo.show import amount, ether, require, say, table

FEE_VAULTS = tuple(Web3.to_checksum_address("0x42" + digits.rjust(38, "0")) for digits in ("11", "19", "1a", "1b"))
"""Where every kind of fee goes: priority, base, L1 data and operator fee."""
INTEROP = tuple(Web3.to_checksum_address("0x42" + digits.rjust(38, "0")) for digits in ("23", "24", "25", "28"))
"""Messenger, ether bridge, its liquidity, and token bridge."""
BLOCK_WAIT_S = 10.0


@dataclass(frozen=True)
class Figure:
    """Something that a person can check; `read` takes a block's number."""

    chain: Chain
    label: str
    read: Callable[[int], int]
    show: Callable[[int], str] = amount


@dataclass(frozen=True)
class Snapshot:
    """The figures and accounts as of one sealed block per rollup."""

    blocks: dict[int, int]
    figures: list[int]
    accounts: dict[tuple[int, str], tuple[int, int, bytes, bytes]]


class Footprint:
    """What to look at.

    Args:
        figures: shown in a table.
        accounts: of each rollup; compared whole, by proof. Fee vaults and bridges are added.
    """

    def __init__(self, figures: Sequence[Figure], accounts: Sequence[tuple[Chain, ChecksumAddress]]) -> None:
        self.figures = figures
        self.chains = {figure.chain.chain_id: figure.chain for figure in figures}
        everywhere = [(chain, address) for chain in self.chains.values() for address in (*FEE_VAULTS, *INTEROP)]
        self.accounts = [*accounts, *everywhere]

    def take(self) -> Snapshot:
        """Reads everything at the last sealed blocks."""
        blocks = {chain_id: int(chain.web3.eth.block_number) for chain_id, chain in self.chains.items()}
        accounts = {
            (chain.chain_id, str(address)): chain.account(address, blocks[chain.chain_id])
            for chain, address in self.accounts
        }
        return Snapshot(blocks, [one.read(blocks[one.chain.chain_id]) for one in self.figures], accounts)

    def next_blocks(self) -> None:
        """Waits until the blocks that are open now are sealed."""
        wanted = {chain_id: chain.web3.eth.block_number + 1 for chain_id, chain in self.chains.items()}
        end = time.monotonic() + BLOCK_WAIT_S
        while any(self.chains[chain_id].web3.eth.block_number < number for chain_id, number in wanted.items()):
            require(time.monotonic() < end, "No block was sealed for ten seconds.")
            time.sleep(0.05)

    def require_no_trace(self, before: Snapshot) -> None:
        """Compares with the state now and prints it. Raises DemoFailure at any difference."""
        after = self.take()
        rows = []
        for figure, was, now in zip(self.figures, before.figures, after.figures, strict=True):
            require(was == now, f"Rollup {figure.chain.chain_id}: {figure.label} was {was} and is {now}.")
            rows.append([f"{figure.chain.chain_id}  {figure.label}", figure.show(was), figure.show(now)])
        for place, was_account in before.accounts.items():
            now_account = after.accounts[place]
            require(was_account == now_account, f"Account {place}: {was_account} has become {now_account}.")
        for chain_id, chain in self.chains.items():
            for number in range(before.blocks[chain_id] + 1, after.blocks[chain_id] + 1):
                count = chain.web3.eth.get_block_transaction_count(number)
                require(count == 1, f"Block {number} of rollup {chain_id} holds {count} transactions, not its deposit.")
        table(("no trace of it", "before", "after"), rows)
        spans = " and ".join(
            f"{was + 1} to {after.blocks[chain_id]} of {chain_id}" for chain_id, was in before.blocks.items()
        )
        say(f"{len(after.accounts)} accounts (people, coins, contracts, bridges, fee vaults) have equal nonces, "
            f"balances and storage roots by proof; blocks {spans} hold nothing but their own deposit.")  # fmt: skip


def nonce(chain: Chain, name: str, address: ChecksumAddress) -> Figure:
    """How many transactions an account has made."""
    return Figure(chain, f"{name}'s nonce", lambda at: chain.web3.eth.get_transaction_count(address, at), str)


def purse(chain: Chain, name: str, address: ChecksumAddress) -> Figure:
    """An account's ether."""
    return Figure(chain, f"{name}'s ether", lambda at: chain.web3.eth.get_balance(address, at), ether)


def holding(chain: Chain, label: str, coin: Contract, address: ChecksumAddress) -> Figure:
    """An account's tokens."""
    return Figure(chain, label, lambda at: coin.functions.balanceOf(address).call(block_identifier=at))


def answer(chain: Chain, label: str, call: Callable[[], object], show: Callable[[int], str] = amount) -> Figure:
    """What a getter of a contract says; `call` makes the bound function, such as `exchange.functions.reserveBase`."""
    return Figure(chain, label, lambda at: call().call(block_identifier=at), show)  # type: ignore[attr-defined]
