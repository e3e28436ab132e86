"""What simulated users ask of the ledger: transfers, delegations, rewards, proposals and votes, new and leaving
validators, evidence; and actions that must be refused.

Stands in for wallets: per account a queue of signed actions in nonce order, sent until they are decided or given up.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from plait.codec.action import encode_action
from plait.crypto.actions import action_digest
from plait.ledger.economy import Economy
from plait.ledger.parameters import TOKEN
from plait.ledger.stake import possession_message
from plait.types import Address, Amount, NetworkId
from plait.types.action import (
    Action,
    Body,
    CreateValidator,
    Delegate,
    EditValidator,
    LeaveValidator,
    ParameterChange,
    ProposeParameters,
    ProposePause,
    ProposeText,
    SubmitEvidence,
    Transfer,
    Undelegate,
    Unjail,
    Vote,
    WithdrawCommission,
    WithdrawRewards,
)
from sim.economy import operator, public_key, sign
from sim.wallet import Wallet

FEE_MAX = Amount(TOKEN)
QUEUE_MAX = 6
"""Actions of an account that wait."""


class Acting:
    """Waiting actions of all accounts.

    Args:
        random: source of every choice.
        network_id: that actions are signed for.
        users: whose accounts hold tokens.
        validators: how many nodes are validators at genesis.
        nodes: how many there are; those beyond may join.
        liars: validators that nobody delegates to, and whose operators do nothing.
    """

    def __init__(
        self,
        random: Random,
        network_id: NetworkId,
        users: Sequence[Wallet],
        *,
        validators: int,
        nodes: int,
        liars: frozenset[int],
    ) -> None:
        self._random = random
        self._network_id = network_id
        self._honest = [index for index in range(validators) if index not in liars]
        self._joiners = list(range(validators, nodes))
        self._may_leave = not liars and validators > 4
        operators = [operator(index) for index in (*self._honest, *self._joiners)]
        self._wallets = {wallet.address: wallet for wallet in (*users, *operators)}
        self._users = [wallet.address for wallet in users]
        self._nonces: dict[Address, int] = dict.fromkeys(self._wallets, 0)
        self._queues: dict[Address, list[tuple[int, bytes]]] = {address: [] for address in self._wallets}
        self._evidence: list[tuple[Address, bytes]] = []
        self.open_proposals: tuple[int, ...] = ()

    def add(self, count: int) -> None:
        """Somebody signs `count` actions."""
        for _ in range(count):
            sender, body = self._body()
            queue = self._queues[sender]
            if len(queue) < QUEUE_MAX:
                nonce = self._nonces[sender] + len(queue)
                queue.append((nonce, self.signed(sender, nonce, body)))

    def accuse(self, validator: int, payload: bytes) -> None:
        """Somebody found a proof against a validator's operator."""
        self._evidence.append((operator(validator).address, payload))

    def signed(self, sender: Address, nonce: int, body: Body, fee_max: Amount = FEE_MAX) -> bytes:
        """A signed action."""
        digest = action_digest(self._network_id, nonce, fee_max, body)
        signature = self._wallets[sender].sign_digest(digest)
        return encode_action(Action(nonce=nonce, max_fee=fee_max, body=body, signature=signature))

    def waiting(self) -> list[bytes]:
        """What is sent: everything that waits, and now and then something that must be refused."""
        found = [raw for queue in self._queues.values() for _, raw in queue]
        if self._random.randrange(100) < 30:
            found.append(self._bad())
        return found

    def on_decided(self, economy: Economy) -> None:
        """Follows the accounts; who does not get on gives up now and then."""
        self.open_proposals = tuple(int.from_bytes(bytes(key), "big") for key, _ in economy.proposals.items())
        for address, queue in self._queues.items():
            account = economy.accounts.get(address)
            nonce = 0 if account is None else account.nonce
            stuck = nonce == self._nonces[address] and self._random.randrange(100) < 25
            self._nonces[address] = nonce
            rest = [] if stuck else [(own, raw) for own, raw in queue if own >= nonce]
            self._queues[address] = rest if not rest or rest[0][0] == nonce else []

    # ------------------------------------------------------------ choices
    def _body(self) -> tuple[Address, Body]:
        random = self._random
        user = random.choice(self._users)
        amount = Amount(random.choice((1, TOKEN // 3, TOKEN, 5 * TOKEN, random.randrange(1, 10**20))))
        validator = operator(random.choice(self._honest)).address
        if self._evidence and random.randrange(3) == 0:
            accused, payload = self._evidence.pop()
            return user, SubmitEvidence(evidence_kind=1, validator=accused, payload=payload)
        kind = random.randrange(100)
        if kind < 25:
            to = random.choice([*self._wallets, Address(random.randbytes(20))])
            return user, Transfer(to=to, amount=amount)
        if kind < 45:
            return user, Delegate(validator=validator, amount=amount)
        if kind < 55:
            return user, Undelegate(validator=validator, amount=amount)
        if kind < 62:
            return user, WithdrawRewards(validator=validator)
        if kind < 80:
            return self._of_operator(amount)
        return user, self._of_governance()

    def _of_operator(self, amount: Amount) -> tuple[Address, Body]:
        random = self._random
        if self._joiners and random.randrange(2):
            return self._joining(random.choice(self._joiners), amount)
        own = operator(random.choice(self._honest)).address
        kind = random.randrange(10)
        if kind == 0 and self._may_leave:
            return own, LeaveValidator()
        if kind < 4:
            return own, WithdrawCommission()
        if kind < 7:
            return own, EditValidator(name="another name", commission_ppm=random.randrange(200_000))
        return own, Unjail()

    def _joining(self, index: int, amount: Amount) -> tuple[Address, Body]:
        address = operator(index).address
        possession = sign(index, possession_message(address))
        if self._random.randrange(5) == 0:
            possession = possession[:-1] + bytes([possession[-1] ^ 1])
        return address, CreateValidator(
            public_key=public_key(index),
            commission_ppm=100_000,
            commission_max_ppm=500_000,
            commission_step_ppm=50_000,
            self_stake=Amount(amount + 5 * TOKEN),
            name=f"joined {index}",
            possession=possession,
        )

    def _of_governance(self) -> Body:
        random = self._random
        if self.open_proposals and random.randrange(3):
            return Vote(proposal_id=random.choice(self.open_proposals), option=random.choice((1, 1, 2, 3, 4)))
        deposit = Amount(random.choice((TOKEN, TOKEN, 1)))
        kind = random.randrange(4)
        if kind == 0:
            return ProposePause(title="stop", details="", deposit=deposit, slots=random.choice((1, 2, 50)))
        if kind == 1:
            change = ParameterChange(name="action_fee", value=random.choice((0, TOKEN // 500, 10**40)))
            return ProposeParameters(title="fees", details="", deposit=deposit, changes=(change,))
        return ProposeText(title="words", details="only", deposit=deposit)

    def _bad(self) -> bytes:
        """Bytes that no pool may admit: no action, another network's, a wrong nonce, too low a fee, a broken one."""
        random = self._random
        sender = random.choice(self._users)
        nonce = self._nonces[sender]
        body = Transfer(to=Address(random.randbytes(20)), amount=Amount(1))
        kind = random.randrange(5)
        if kind == 0:
            return random.randbytes(random.randrange(200))
        if kind == 1:
            digest = action_digest(NetworkId(self._network_id + 1), nonce, FEE_MAX, body)
            signature = self._wallets[sender].sign_digest(digest)
            return encode_action(Action(nonce=nonce, max_fee=FEE_MAX, body=body, signature=signature))
        if kind == 2:
            return self.signed(sender, nonce + 10_000, body)
        if kind == 3:
            return self.signed(sender, nonce, body, Amount(0))
        good = self.signed(sender, nonce, msgspec.structs.replace(body, amount=Amount(7)))
        at = random.randrange(len(good))
        return good[:at] + bytes([good[at] ^ (1 << random.randrange(8))]) + good[at + 1 :]
