"""A token and its exchange on one rollup, the traders of the demonstration's load, and the check of what came of it."""

from typing import Any

from eth_account.signers.local import LocalAccount
from web3.contract import Contract

from examples.demo.chain import Chain
from examples.demo.show import UNIT, require
from plait.rollups.contracts import artifact

TRADERS = 9
TRANSACTIONS_PER_TRADER = 34
TOKENS_EACH = 1_000 * UNIT
LIQUIDITY_TOKENS, LIQUIDITY_WEI = 500 * UNIT, 50 * UNIT
FOREVER_S = 2**40
NO_LIMIT = 2**256 - 1
ETHER_ASSET = "0x" + "00" * 20
"""How DemoExchange names ether among its assets."""


class Market:
    """A token and its exchange, and the accounts that trade there."""

    def __init__(self, chain: Chain, accounts: list[LocalAccount]) -> None:
        self.chain = chain
        self.chain_id = chain.chain_id
        self.owner, *self.traders = accounts[: TRADERS + 1]
        self.token: Contract
        self.exchange: Contract
        self.signed: list[bytes] = []

    def deploy(self) -> None:
        """Deploys both contracts, gives everybody tokens and the exchange its first liquidity. Waits for the
        receipts."""
        self.token = self._deploy("DemoToken", "Demo", "DEMO")
        self.exchange = self._deploy("DemoExchange", self.token.address, ETHER_ASSET)
        mints = [self.token.functions.mint(account.address, TOKENS_EACH) for account in (self.owner, *self.traders)]
        approval = self.token.functions.approve(self.exchange.address, NO_LIMIT)
        hashes = [self.chain.send(self.owner, call) for call in (*mints, approval)]
        added = self.exchange.functions.addLiquidity(LIQUIDITY_TOKENS, LIQUIDITY_WEI)
        hashes.append(self.chain.send(self.owner, added, value=LIQUIDITY_WEI))
        self.chain.confirm(hashes)

    def sign_load(self) -> None:
        """Signs everything the traders will send: an approval each, then transfers and swaps in both directions."""
        queues = []
        for place, trader in enumerate(self.traders):
            calls = [(self.token.functions.approve(self.exchange.address, NO_LIMIT), 0)]
            for at in range(1, TRANSACTIONS_PER_TRADER):
                friend = self.traders[(place + at) % len(self.traders)].address
                if at % 3 == 0:
                    calls.append((self.token.functions.transfer(friend, at * UNIT // 10), 0))
                elif at % 3 == 1:
                    calls.append((self._swap(True, UNIT, trader.address), 0))
                else:
                    calls.append((self._swap(False, UNIT // 10, trader.address), UNIT // 10))
            queues.append(
                [
                    self.chain.sign(trader, call, nonce=at, value=value, gas=200_000)
                    for at, (call, value) in enumerate(calls)
                ]
            )
        self.signed = [raw for step in zip(*queues, strict=True) for raw in step]

    def read_back(self) -> None:
        """Checks that state and receipts agree with what was sent. Raises DemoFailure."""
        call = self.token.functions
        holders = [self.owner.address, *(trader.address for trader in self.traders), self.exchange.address]
        supply = call.totalSupply().call()
        held = sum(call.balanceOf(holder).call() for holder in holders)
        require(supply == held, f"Rollup {self.chain_id}: {held} tokens are held, the supply is {supply}.")
        reserve = self.exchange.functions.reserveBase().call()
        require(
            reserve == call.balanceOf(self.exchange.address).call(), f"Rollup {self.chain_id}: the reserves do not fit."
        )
        product = reserve * self.exchange.functions.reserveQuote().call()
        require(product >= LIQUIDITY_TOKENS * LIQUIDITY_WEI, f"Rollup {self.chain_id}: the exchange lost liquidity.")
        for trader in self.traders:
            nonce = self.chain.web3.eth.get_transaction_count(trader.address)
            require(nonce == TRANSACTIONS_PER_TRADER, f"Rollup {self.chain_id}: {trader.address} has nonce {nonce}.")

    def _deploy(self, name: str, *arguments: Any) -> Contract:
        """Through an ordinary deployment transaction, as web3.py's own documentation shows it."""
        compiled = artifact(name)
        factory = self.chain.web3.eth.contract(abi=compiled.abi, bytecode=compiled.creation_code)
        hash_ = self.chain.send(self.owner, factory.constructor(*arguments), gas=3_000_000)
        receipt = self.chain.receipt(hash_)
        require(receipt["status"] == 1, f"{name} could not be deployed on rollup {self.chain_id}.")
        return self.chain.contract(name, receipt["contractAddress"])

    def _swap(self, sell_base: bool, amount: int, to: str) -> Any:
        return self.exchange.functions.swap(sell_base, amount, 1, to, FOREVER_S)
