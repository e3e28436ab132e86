"""Random but reproducible transactions of every type and fate, signed; from a seed, the same bytes every time.

A maker returns the fields of a call; the generator adds type, nonce, gas and fees. Nonces are modelled here: a
transaction that the chain must leave out (`excluded`) takes none, an authorization (EIP-7702) takes one of its
authority.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from eth_abi import encode
from eth_account import Account
from random_code import precompile_input, random_code

from plait.native import keccak256
from plait.rollups.contracts import artifact
from plait.rollups.embedded import genesis as addresses
from plait.rollups.embedded.accounts import DEVELOPMENT_ACCOUNTS

TRANSFER_GAS = 21_000

# (precompile, input bytes) at and just above the limits that the OP Stack specs set in Granite (8), Isthmus and Jovian
INPUT_LIMITS = [
    (0x08, 81_984), (0x08, 82_176), (0x08, 112_512), (0x08, 112_704),
    (0x0C, 288_960), (0x0C, 289_120), (0x0C, 513_760), (0x0C, 513_920),
    (0x0E, 278_784), (0x0E, 279_072), (0x0E, 488_448), (0x0E, 488_736),
    (0x0F, 156_672), (0x0F, 157_056), (0x0F, 235_008), (0x0F, 235_392),
]  # fmt: skip


@dataclass
class Call:
    """What a transaction does. `to` None creates a contract."""

    to: bytes | None
    data: bytes = b""
    value: int = 0
    gas: int = 400_000
    authorizations: list[Any] = field(default_factory=list)


@dataclass
class Made:
    """A signed transaction and whether the chain must leave it out."""

    raw: bytes
    excluded: bool
    label: str


def selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def call_data(signature: str, *values: Any) -> bytes:
    """ABI encoding of a call; `signature` such as "mint(address,uint256)"."""
    inner = signature[signature.index("(") + 1 : -1]
    return selector(signature) + encode([part for part in inner.split(",") if part], values)


def predeploy(text: str) -> bytes:
    return bytes.fromhex(text)


def created_address(sender: bytes, nonce: int) -> bytes:
    """Address of a contract made by a creation transaction (Yellow Paper, section 7)."""
    encoded = b"" if nonce == 0 else nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = encoded if len(encoded) == 1 and encoded[0] < 0x80 else bytes([0x80 + len(encoded)]) + encoded
    return keccak256(bytes([0xC0 + 21 + len(item), 0x94]) + sender + item)[12:]


class Wallet:
    """Keys of a run: the development accounts, authorities that only sign authorizations, and one poor account."""

    def __init__(self, seed: int) -> None:
        self.keys: dict[bytes, bytes] = {account.address: account.private_key for account in DEVELOPMENT_ACCOUNTS}
        self.senders = list(self.keys)
        self.authorities = [self._extra(f"authority {seed} {index}") for index in range(4)]
        self.poor = self._extra(f"poor {seed}")
        self.nonces: dict[bytes, int] = dict.fromkeys(self.keys, 0)

    def _extra(self, name: str) -> bytes:
        key = hashlib.sha256(name.encode()).digest()
        address = bytes.fromhex(Account.from_key(key).address[2:])
        self.keys[address] = key
        return address


class Generator:
    """Makes transactions of one chain from a seed."""

    def __init__(self, seed: int, chain_id: int) -> None:
        self.random = Random(seed)
        self.chain_id = chain_id
        self.wallet = Wallet(seed)
        self.contracts: dict[str, bytes] = {}
        self.strangers = [self.random.randbytes(20) for _ in range(5)]
        self.base_fee = 0
        self.authorization_types = True
        self.makers: list[tuple[int, str, Callable[[], Call]]] = [
            (10, "transfer", self._transfer),
            (4, "transfer to new", self._transfer_new),
            (3, "self transfer", self._to_self),
            (6, "deploy", self._deploy),
            (5, "failing creation", self._failing_creation),
            (12, "random code", self._random_creation),
            (25, "workbench", self._workbench),
            (12, "precompile", self._precompile),
            (6, "probe", self._probe),
            (12, "token", self._token),
            (8, "exchange", self._exchange),
            (10, "predeploy", self._predeploy),
            (4, "tight gas", self._tight_gas),
            (8, "authorization", self._authorization),
            (5, "delegated call", self._delegated_call),
            (1, "input limit", self._input_limit),
        ]

    # ------------------------------------------------------------ whole blocks
    def setup(self) -> list[Made]:
        """Deploys the contracts that later blocks use: one transaction each, from the first account."""
        sender = self.wallet.senders[0]
        made = []
        token = artifact("DemoToken").creation_code
        for name, code in (
            ("workbench", artifact("Workbench").creation_code),
            ("token", token + encode(["string", "string"], ["Alpha", "ALP"])),
            ("quote", token + encode(["string", "string"], ["Beta", "BET"])),
        ):
            self.contracts[name] = created_address(sender, self.wallet.nonces[sender])
            made.append(self.sign(Call(None, code, gas=3_000_000), sender, label=f"deploy {name}"))
        pair = encode(["address", "address"], ["0x" + bytes(20).hex(), "0x" + self.contracts["token"].hex()])
        self.contracts["exchange"] = created_address(sender, self.wallet.nonces[sender])
        exchange = artifact("DemoExchange").creation_code + pair
        made.append(self.sign(Call(None, exchange, gas=3_000_000), sender, label="deploy exchange"))
        mint = call_data("mint(address,uint256)", "0x" + sender.hex(), 10**24)
        made.append(self.sign(Call(self.contracts["token"], mint), sender, label="mint"))
        approve = call_data("approve(address,uint256)", "0x" + self.contracts["exchange"].hex(), 2**256 - 1)
        token_call = Call(self.contracts["token"], approve)
        made += [self.sign(token_call, account, label="approve") for account in self.wallet.senders]
        supply = call_data("addLiquidity(uint256,uint256)", 10**19, 10**22)
        made.append(self.sign(Call(self.contracts["exchange"], supply, value=10**19), sender, label="add liquidity"))
        return made

    def transactions(self, count: int) -> list[Made]:
        """`count` random transactions in an order that is applicable, but for those marked excluded."""
        return [self._one() for _ in range(count)]

    def small_transfers(self, count: int) -> list[Made]:
        """`count` equal small transfers: they fill a block by data availability."""
        return [
            self.sign(
                Call(self.random.choice(self.strangers), value=1, gas=TRANSFER_GAS),
                self._sender(),
                label="small transfer",
            )
            for _ in range(count)
        ]

    def gas_burners(self, count: int, gas: int) -> list[Made]:
        """`count` transactions that use nearly `gas` gas each: they fill a block by gas."""
        data = call_data("burn(uint256)", 30_000)
        workbench = self.contracts["workbench"]
        return [self.sign(Call(workbench, data, gas=gas), self._sender(), label="gas burner") for _ in range(count)]

    def deposit_call(self) -> Call:
        """What a user's deposit does: like a transaction, sometimes with less gas than it needs."""
        maker = self.random.choice(
            [
                self._transfer,
                self._deploy,
                self._failing_creation,
                self._random_creation,
                self._workbench,
                self._tight_gas,
            ]
        )
        return maker()

    # ------------------------------------------------------------ signing
    def _sender(self) -> bytes:
        return self.random.choice(self.wallet.senders)

    def _one(self) -> Made:
        if self.random.randrange(12) == 0:
            return self._excluded()
        weights = [weight for weight, _, _ in self.makers]
        _, label, maker = self.random.choices(self.makers, weights)[0]
        return self.sign(maker(), self._sender(), label=label)

    def _excluded(self) -> Made:
        """A transaction that no block may hold: wrong nonce, no funds, fee cap too low, too little gas to start."""
        random = self.random
        sender = self._sender()
        nonce = self.wallet.nonces[sender]
        kind = random.randrange(5)
        call = Call(random.choice(self.strangers), value=1, gas=TRANSFER_GAS)
        if kind == 0:
            return self._signed(call, sender, nonce + random.randrange(1, 5), "nonce too high", excluded=True)
        if kind == 1 and nonce > 0:
            return self._signed(call, sender, nonce - 1, "nonce too low", excluded=True)
        if kind == 2:
            call.value = 10**30
            return self._signed(call, sender, nonce, "insufficient funds", excluded=True)
        if kind == 3:
            call.gas = TRANSFER_GAS - 1
            return self._signed(call, sender, nonce, "intrinsic gas too low", excluded=True)
        return self._signed(call, sender, nonce, "fee cap too low", excluded=True, max_fee=max(self.base_fee - 1, 0))

    def sign(self, call: Call, sender: bytes, *, label: str) -> Made:
        """Signs with the sender's next nonce and counts it."""
        nonce = self.wallet.nonces[sender]
        self.wallet.nonces[sender] = nonce + 1
        return self._signed(call, sender, nonce, label)

    def _signed(
        self, call: Call, sender: bytes, nonce: int, label: str, *, excluded: bool = False, max_fee: int | None = None
    ) -> Made:
        random = self.random
        fields: dict[str, Any] = {
            "nonce": nonce,
            "gas": call.gas,
            "value": call.value,
            "data": call.data,
            "chainId": self.chain_id,
        }
        if call.to is not None:
            fields["to"] = call.to
        kind = 4 if call.authorizations else random.choice([0, 1, 2, 2, 2])
        if kind < 2:
            fields["gasPrice"] = self.base_fee * 2 + random.randrange(10**9) if max_fee is None else max_fee
        else:
            fields["maxPriorityFeePerGas"] = 0 if max_fee is not None else random.choice([0, 1, 10**9])
            fields["maxFeePerGas"] = self.base_fee * 2 + 10**9 if max_fee is None else max_fee
            fields["type"] = kind
        if kind == 1 or (kind > 1 and random.randrange(4) == 0):
            fields["accessList"] = self._access_list()
        if kind == 1:
            fields["type"] = 1
        if kind == 4:
            fields["authorizationList"] = call.authorizations
        if "accessList" in fields:
            keys = sum(len(entry["storageKeys"]) for entry in fields["accessList"])
            if not excluded or label != "intrinsic gas too low":
                fields["gas"] += 2_400 * len(fields["accessList"]) + 1_900 * keys
        signed = Account.sign_transaction(fields, self.wallet.keys[sender])
        return Made(bytes(signed.raw_transaction), excluded, label)

    def _access_list(self) -> list[dict[str, Any]]:
        pool = [*self.contracts.values(), *self.strangers, predeploy(addresses.L1_BLOCK)]
        return [
            {
                "address": "0x" + self.random.choice(pool).hex(),
                "storageKeys": [
                    "0x" + bytes(31).hex() + bytes([self.random.randrange(9)]).hex()
                    for _ in range(self.random.randrange(4))
                ],
            }
            for _ in range(self.random.randrange(4))
        ]

    # ------------------------------------------------------------ makers
    def _transfer(self) -> Call:
        to = self.random.choice([*self.strangers, *self.wallet.senders, self.wallet.poor])
        return Call(
            to, self.random.randbytes(self.random.choice([0, 0, 5, 600])), self.random.randrange(10**15), 60_000
        )

    def _transfer_new(self) -> Call:
        return Call(self.random.randbytes(20), value=self.random.choice([0, 1]), gas=TRANSFER_GAS)

    def _to_self(self) -> Call:
        return Call(self.random.choice(self.wallet.senders), value=10**17, gas=TRANSFER_GAS)

    def _deploy(self) -> Call:
        code = self.random.choice(
            [
                artifact("DemoToken").creation_code
                + encode(["string", "string"], ["T" * self.random.randrange(70), "T"]),
                bytes.fromhex("602a60005260206000f3"),
                bytes.fromhex("60016000556001600155600060015560206000f3"),
                b"",
            ]
        )
        return Call(None, code, self.random.choice([0, 0, 5]) if len(code) < 100 else 0, 2_500_000)

    def _failing_creation(self) -> Call:
        code = self.random.choice(
            [
                bytes.fromhex("60aa60005260206000fd"),  # reverts with data
                bytes.fromhex("fe"),
                bytes.fromhex("60ef60005360016000f3"),
                bytes.fromhex("6160016000f3"),  # larger than EIP-170 allows
                bytes.fromhex("5b600056"),  # loops until the gas is gone
                bytes.fromhex("61ffff6000f3"),
                bytes.fromhex("3860006000f03d60006000fd"),
            ]
        )
        return Call(None, code, self.random.choice([0, 3]), 200_000)

    def _random_creation(self) -> Call:
        targets = [*self.contracts.values(), *self.strangers, *self.wallet.senders, *self.wallet.authorities]
        targets += [
            predeploy(addresses.BLOCK_HASH_HISTORY),
            predeploy(addresses.BEACON_ROOTS),
            predeploy(addresses.L1_BLOCK),
        ]
        code = random_code(self.random, targets, self.random.randrange(5, 160))
        return Call(None, code, self.random.choice([0, 0, 7]), self.random.choice([150_000, 500_000, 2_000_000]))

    def _workbench(self) -> Call:
        random = self.random
        heir = "0x" + random.choice([*self.strangers, self.contracts["workbench"]]).hex()
        salt = random.randrange(6).to_bytes(32, "big")
        fill = (random.randrange(20), random.randrange(15), random.choice([0, 0, 1, 2]))
        flag, small = bool(random.randrange(2)), random.choice([0, 4])
        data, value, gas = random.choice(
            [
                (call_data("count()"), random.choice([0, 9]), 200_000),
                (call_data("revertReason(string)", "no " * random.randrange(30)), 0, 100_000),
                (call_data("revertCustom(uint256)", random.getrandbits(256)), 0, 100_000),
                (call_data("revertPlain()"), 0, 100_000),
                (call_data("panic(uint256)", random.randrange(2)), 0, 100_000),
                (call_data("invalid()"), 0, 100_000),
                (call_data("fill(uint256,uint256,uint256)", *fill), 0, 800_000),
                (call_data("burn(uint256)", 5_000), 0, random.randrange(50_000, 900_000)),
                (
                    call_data("note(uint256,uint256)", random.choice([0, 1, 32, 2_000, 8_000]), random.randrange(6)),
                    0,
                    2_500_000,
                ),
                (call_data("create(uint256,bool)", random.randrange(3), flag), small, 500_000),
                (call_data("create2(bytes32,uint256,bool)", salt, random.randrange(2), flag), small, 500_000),
                (call_data("createAndDestroy(bytes32,address)", salt, heir), random.choice([0, 11]), 500_000),
                (call_data("destroyLast(address)", heir), 0, 200_000),
                (call_data("nested(uint256,uint256)", random.randrange(50), random.randrange(6)), 0, 900_000),
                (call_data("environment()"), 0, 300_000),
                (call_data("transient_(uint256,uint256)", random.randrange(3), random.randrange(5)), 0, 200_000),
                (call_data("revertLong(uint256)", random.choice([0, 100, 20_000])), 0, 200_000),
                (b"\xde\xad\xbe\xef", 0, 100_000),
                (b"", 5, 100_000),
            ]
        )
        return Call(self.contracts["workbench"], data, value, gas)

    def _precompile(self) -> Call:
        to, data = precompile_input(self.random)
        return Call(to, data, self.random.choice([0, 0, 0, 1]), self.random.choice([60_000, 400_000]))

    def _probe(self) -> Call:
        """A precompile called by a contract, its answer hashed into storage."""
        to, data = precompile_input(self.random)
        gas = self.random.choice([100, 3_000, 300_000])
        return Call(
            self.contracts["workbench"],
            call_data("probe(address,bytes,uint256)", "0x" + to.hex(), data, gas),
            gas=800_000,
        )

    def _input_limit(self) -> Call:
        """A precompile whose input is the longest that Granite, Isthmus or Jovian admits, or one element more."""
        number, size = self.random.choice(INPUT_LIMITS)
        # call(gas, number, 0, 0, size, 0, 0); sstore(0, result + 1)
        code = b"\x5f\x5f\x62" + size.to_bytes(3, "big") + b"\x5f\x5f\x60" + bytes([number]) + b"\x5a\xf1"
        return Call(None, code + bytes.fromhex("6001015f5500"), gas=16_500_000)

    def _token(self) -> Call:
        random = self.random
        token = self.contracts[random.choice(["token", "quote"])]
        someone = "0x" + random.choice([*self.wallet.senders, *self.strangers]).hex()
        other = "0x" + random.choice(self.wallet.senders).hex()
        data = random.choice(
            [
                call_data("mint(address,uint256)", someone, random.choice([0, 10**20])),
                call_data("transfer(address,uint256)", someone, random.choice([0, 1, 10**18, 10**30])),
                call_data("transferFrom(address,address,uint256)", other, someone, random.choice([0, 10**17])),
                call_data("approve(address,uint256)", someone, random.choice([0, 5, 2**256 - 1])),
                call_data("balanceOf(address)", someone),
            ]
        )
        return Call(token, data, gas=120_000)

    def _exchange(self) -> Call:
        random = self.random
        to = "0x" + random.choice(self.wallet.senders).hex()
        deadline = random.choice([0, 2**64, 2**64])
        amount = random.randrange(1, 10**17)
        limit = random.choice([0, 0, 10**24])
        swap = "swap(bool,uint256,uint256,address,uint256)"
        data, value = random.choice(
            [
                (call_data(swap, True, amount, limit, to, deadline), amount),
                (call_data(swap, False, amount, limit, to, deadline), 0),
                (call_data("addLiquidity(uint256,uint256)", amount, amount * 1000), amount),
                (call_data("removeLiquidity(uint256)", random.randrange(10**15)), 0),
            ]
        )
        return Call(self.contracts["exchange"], data, value, 350_000)

    def _predeploy(self) -> Call:
        random = self.random
        text = lambda name: "0x" + name  # noqa: E731 - a short local alias
        someone = text(random.choice(self.strangers).hex())
        balance = call_data("getEthBalance(address)", text(addresses.L1_FEE_VAULT))
        withdrawal = call_data("initiateWithdrawal(address,uint256,bytes)", someone, 50_000, random.randbytes(40))
        deployer = predeploy(addresses.DETERMINISTIC_DEPLOYER)
        to, data, value = random.choice(
            [
                (addresses.L1_BLOCK, call_data("setL1BlockValuesJovian()") + random.randbytes(174), 0),
                (addresses.L1_BLOCK, call_data("daFootprintGasScalar()"), 0),
                (
                    addresses.GAS_PRICE_ORACLE,
                    call_data("getL1Fee(bytes)", random.randbytes(4) * random.randrange(40)),
                    0,
                ),
                (addresses.WRAPPED_ETHER, call_data("deposit()"), 10**15),
                (addresses.WRAPPED_ETHER, call_data("withdraw(uint256)", random.choice([1, 10**30])), 0),
                (addresses.MESSAGE_PASSER, withdrawal, 3),
                (addresses.MESSAGE_PASSER, b"", 10**14),
                (addresses.MESSAGE_PASSER, call_data("burn()"), 0),
                (addresses.SEQUENCER_FEE_VAULT, call_data("withdraw()"), 0),
                (addresses.OPERATOR_FEE_VAULT, call_data("withdraw()"), 0),
                (addresses.MULTICALL, balance, 0),
                (addresses.BLOCK_HASH_HISTORY, random.randrange(12).to_bytes(32, "big"), 0),
                (addresses.BEACON_ROOTS, random.randrange(10**6).to_bytes(32, "big"), 0),
                (deployer.hex(), random.randrange(4).to_bytes(32, "big") + bytes.fromhex("602a60005260206000f3"), 0),
            ]
        )
        return Call(predeploy(to), data, value, 900_000)

    def _tight_gas(self) -> Call:
        """Enough gas to start, rarely enough to finish."""
        call = self.random.choice([self._workbench, self._token, self._deploy, self._exchange])()
        zero = call.data.count(0)
        tokens = zero + 4 * (len(call.data) - zero)
        words = (len(call.data) + 31) // 32
        start = 21_000 + (32_000 + 2 * words if call.to is None else 0) + 4 * tokens
        floor = 21_000 + 10 * tokens
        call.gas = max(start, floor) + self.random.choice([0, 1, 2_000, 5_000, 20_000, 60_000])
        return call

    def _authorization(self) -> Call:
        """EIP-7702: sets, clears or fails to set delegations; the authority's nonce moves when it is valid."""
        if not self.authorization_types:
            return self._transfer()
        random = self.random
        entries = []
        for _ in range(random.randrange(1, 4)):
            authority = random.choice(self.wallet.authorities)
            nonce = self.wallet.nonces.get(authority, 0)
            wrong = random.randrange(5) == 0
            target = random.choice(
                [
                    self.contracts["workbench"],
                    self.contracts["token"],
                    bytes(20),
                    random.choice(self.wallet.authorities),
                ]
            )
            chain = random.choice([0, self.chain_id, self.chain_id, 77 if wrong else 0])
            used = nonce + (3 if wrong and chain != 77 else 0)
            if chain != 77 and used == nonce:
                self.wallet.nonces[authority] = nonce + 1
            entries.append(
                Account.sign_authorization(
                    {"chainId": chain, "address": "0x" + target.hex(), "nonce": used}, self.wallet.keys[authority]
                )
            )
        to = random.choice([*self.wallet.authorities, self.contracts["workbench"], random.choice(self.strangers)])
        return Call(to, random.choice([b"", call_data("count()")]), gas=600_000, authorizations=entries)

    def _delegated_call(self) -> Call:
        """A call to an account that may delegate to the workbench, to a token, or in a circle."""
        call = self._workbench()
        call.to = self.random.choice(self.wallet.authorities)
        return call
