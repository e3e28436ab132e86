"""What the stories play on, the same on every rollup: two coins, an exchange of them, an option desk, and people.

GOLD and USD are SuperchainERC20 tokens with one address and one supply over all rollups. Ana trades between exchanges,
Bea trades options, Cai lives on rollup 901 only, and Max makes the markets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract import Contract

from examples.demo.chain import Chain
from examples.demo.show import UNIT

POOL_GOLD = 1_000 * UNIT
FOREVER_S = 2**40
NO_LIMIT = 2**256 - 1


def person(name: str) -> LocalAccount:
    """An account of the demonstration; its key is public, as those of the development accounts are."""
    account: LocalAccount = Account.from_key(Web3.keccak(text=f"plait demo: {name}"))
    return account


ANA, BEA, CAI, MAX = (person(name) for name in ("Ana", "Bea", "Cai", "Max"))


@dataclass(frozen=True)
class Purse:
    """What somebody starts with on a rollup, in whole units."""

    who: LocalAccount
    ether: int = 0
    gold: int = 0
    dollars: int = 0


@dataclass(frozen=True)
class Stage:
    """One rollup's part of the stage."""

    chain: Chain
    gold: Contract
    dollar: Contract
    exchange: Contract
    desk: Contract

    @property
    def rollup(self) -> int:
        """Its rollup id, which is its chain id."""
        return self.chain.chain_id

    def price(self) -> int:
        """Dollars for one unit of gold on the exchange, in 18 decimals."""
        call = self.exchange.functions
        return int(call.reserveQuote().call() * UNIT // call.reserveBase().call())

    def balance(self, coin: Contract, who: LocalAccount) -> int:
        """Somebody's coins, as of the last sealed block."""
        return int(coin.functions.balanceOf(who.address).call())


def build(chain: Chain, owner: LocalAccount, price: int, purses: Sequence[Purse]) -> Stage:
    """Puts everything on a rollup and waits until it is sealed.

    Args:
        chain: the rollup.
        owner: pays for it.
        price: of gold on the exchange, in whole dollars.
        purses: what people start with. Max gets what he needs.
    """
    gold, first = chain.place(owner, "DemoCoin", "Gold", "GOLD")
    dollar, second = chain.place(owner, "DemoCoin", "US Dollar", "USD")
    exchange, third = chain.place(owner, "DemoExchange", gold.address, dollar.address)
    desk, fourth = chain.place(owner, "OptionDesk", gold.address, dollar.address)
    sent = [first, second, third, fourth]
    for purse in (*purses, Purse(MAX, 10, 10_000, 10_000_000)):
        who = purse.who.address
        sent += [chain.send_plain(owner, who, value=purse.ether * UNIT, gas=21_000)] if purse.ether else []
        sent += [chain.send(owner, gold.functions.mint(who, purse.gold * UNIT))] if purse.gold else []
        sent += [chain.send(owner, dollar.functions.mint(who, purse.dollars * UNIT))] if purse.dollars else []
    chain.confirm(sent)
    sent = [
        chain.send(MAX, coin.functions.approve(spender.address, NO_LIMIT))
        for coin in (gold, dollar)
        for spender in (exchange, desk)
    ]
    sent.append(chain.send(MAX, exchange.functions.addLiquidity(POOL_GOLD, POOL_GOLD * price)))
    chain.confirm(sent)
    return Stage(chain, gold, dollar, exchange, desk)
