"""An option desk on one side of the pair of rollups of tests/unit/interop, and the accounts that deal there."""

from __future__ import annotations

from eth_abi import decode, encode

from plait.native import keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded.genesis import DETERMINISTIC_DEPLOYER
from plait.types import Address
from sim.wallet import Wallet
from tests.unit.interop.pair import ALICE, BOB, STRANGER, Executed, Side, calldata

UNIT = 10**18
WEALTH = 1_000_000 * UNIT
CALL, PUT = 0, 1
STATES = ("none", "offered", "bid", "open", "exercised", "reclaimed", "withdrawn")
WINDOW_S = 86_400
TERMS = "(uint8,uint256,uint256,uint256,uint256)"


def deploy(side: Side, name: str, *arguments: tuple[str, object], salt: int = 0) -> Address:
    """Deploys a compiled contract through CREATE2: the same address on every side. Arguments are (type, value)."""
    code = artifact(name).creation_code + encode([kind for kind, _ in arguments], [value for _, value in arguments])
    deployer, salt_bytes = bytes.fromhex(DETERMINISTIC_DEPLOYER), salt.to_bytes(32, "big")
    address = Address(keccak256(b"\xff" + deployer + salt_bytes + keccak256(code))[12:])
    executed = side.execute(ALICE, deployer, salt_bytes + code, gas_limit=5_000_000)
    assert executed.status == 1, executed.failure
    assert side.session.accounts([address])[0][2]
    return address


class Desk:
    """The desk, its two tokens, and what every call to it does. ALICE and BOB own WEALTH of both and approved it."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.asset = deploy(side, "DemoCoin", ("string", "Gold"), ("string", "GOLD"))
        self.money = deploy(side, "DemoCoin", ("string", "Dollar"), ("string", "USD"))
        self.address = deploy(side, "OptionDesk", ("address", self.asset), ("address", self.money))
        for wallet in (ALICE, BOB):
            for token in (self.asset, self.money):
                side.execute(wallet, token, calldata("mint(address,uint256)", wallet.address, WEALTH))
                side.execute(wallet, token, calldata("approve(address,uint256)", self.address, 2**256 - 1))

    def do(self, wallet: Wallet, signature: str, *values: object) -> Executed:
        """One transaction to the desk."""
        return self.side.execute(wallet, self.address, calldata(signature, *values))

    def start(self, what: str, wallet: Wallet, *terms: int) -> int:
        """An offer or a bid (kind, size, strike, premium, expiry) that must be accepted; its id."""
        executed = self.do(wallet, what + TERMS, *terms)
        assert executed.status == 1, executed.failure
        return int.from_bytes(executed.output, "big")

    def state(self, option: int) -> str:
        """By name."""
        answer = self.side.call(self.address, calldata("optionOf(uint256)", option))
        terms = ["uint8", "uint8", "address", "address", "uint256", "uint256", "uint256", "uint256"]
        return STATES[decode(terms, answer)[1]]

    def holdings(self, account: bytes) -> tuple[int, int]:
        """(asset, money) of an account."""
        asset, money = (self.side.ask(token, "balanceOf(address)", account) for token in (self.asset, self.money))
        return asset, money

    def everything(self) -> dict[str, tuple[int, int]]:
        """Holdings of both parties, a stranger and the desk, as changes from the start."""
        parties = {"alice": ALICE.address, "bob": BOB.address, "stranger": STRANGER, "desk": self.address}
        found = {}
        for name, account in parties.items():
            asset, money = self.holdings(account)
            start = WEALTH if name in {"alice", "bob"} else 0
            found[name] = (asset - start, money - start)
        return found
