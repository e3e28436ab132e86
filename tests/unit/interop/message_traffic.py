"""Random traffic between two rollups: sends over both bridges, relays in any order, late, twice, or with a wrong list,
and deliveries through the relay desk whose fee is claimed."""

from __future__ import annotations

from random import Random

from plait.interop.cycles import SameTimeExecution, chains_in_cycles
from plait.interop.identifiers import Message
from plait.interop.messages import ETH_BRIDGE, TOKEN_BRIDGE, executing_messages
from plait.interop.validity import refuse_execution
from plait.types import Seconds
from tests.unit.interop.fees import attach, claim_after, deliver, make_claim, message, sponsor
from tests.unit.interop.pair import (
    ALICE,
    BOB,
    SET,
    STRANGER,
    TOKEN,
    Executed,
    Pair,
    Sent,
    Side,
    calldata,
    relay,
    sent_messages,
)


class Traffic:
    """Two rollups and what is on its way between them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.pair = Pair()
        self.sides = [self.pair.a, self.pair.b]
        self.minted = 0
        self.flying: list[tuple[Side, Sent, str, int]] = []
        """Destination, message, "ether" or "token", amount."""
        self.landed: list[tuple[Side, Sent]] = []
        self.paid = 0
        """Deliveries whose fee was claimed."""
        self.executions: list[SameTimeExecution] = []
        """Of the open blocks' timestamp."""
        for side in self.sides:
            side.deploy_token()
            side.execute(ALICE, TOKEN, calldata("mint(address,uint256)", ALICE.address, 1_000))
            self.minted += 1_000

    def step(self) -> None:
        """One random action; it asserts what that action must give."""
        action = self.random.randrange(11)
        if action == 10:
            self._pay_for_delivery()
        elif action < 5:
            self._send()
        elif action < 8 and self.flying:
            self._relay()
        elif action == 8 and self.landed:
            destination, sent = self.random.choice(self.landed)
            assert relay(destination, sent).status == 0, "a message was delivered twice"
        else:
            self.advance()

    def advance(self) -> None:
        """Seals the blocks; A makes two where B makes one."""
        assert chains_in_cycles(self.executions) == ()
        self.executions.clear()
        timestamp = Seconds(self.pair.a.timestamp + 2)
        for side in self.sides:
            side.advance(timestamp)

    def _send(self) -> None:
        side, other = self.random.sample(self.sides, 2)
        to = self.random.choice([ALICE.address, BOB.address, STRANGER])
        amount = self.random.randrange(300)
        kind = self.random.choice(["ether", "token"])
        if kind == "ether":
            data = calldata("sendETH(address,uint256)", to, other.chain_id)
            executed = side.execute(ALICE, ETH_BRIDGE, data, value=amount)
        else:
            data = calldata("sendERC20(address,address,uint256,uint256)", TOKEN, to, amount, other.chain_id)
            executed = side.execute(ALICE, TOKEN_BRIDGE, data)
        sent = sent_messages(side, executed)
        assert len(sent) == executed.status, "a transaction sends one message or reverts"
        self.flying += [(other, message, kind, amount) for message in sent]

    def _relay(self) -> None:
        destination, sent, _, _ = self.flying.pop(self.random.randrange(len(self.flying)))
        if self.random.randrange(4) == 0:
            assert relay(destination, sent, access_list=[]).status == 0, "executed without its access list"
        refusal = refuse_execution(SET, destination.chain_id, destination.timestamp, sent.access, self.pair.lookup)
        assert refusal is None, refusal
        executed = relay(destination, sent)
        assert executed.status == 1, executed.failure
        self.landed.append((destination, sent))
        self._note(destination, executed, sent.message)

    def _pay_for_delivery(self) -> None:
        """A message with an attached or a sponsored fee is delivered through the desk and claimed where it was sent."""
        side, other = self.random.sample(self.sides, 2)
        relay = message(side, other.chain_id, data=self.random.randbytes(self.random.randrange(200)))
        if self.random.randrange(2) == 0:
            assert attach(side, relay.message_hash, 1 + self.random.randrange(300)).status == 1
        else:
            sponsor(side, BOB, ALICE, amount=250, messages=1, deposit=300)
        executed = deliver(other, relay)
        claim = claim_after(other, relay, executed)
        self._note(other, executed, relay.message)
        paid = make_claim(side, claim)
        assert paid.status == 1, paid.failure
        self._note(side, paid, claim.message)
        self.paid += 1

    def _note(self, destination: Side, executed: Executed, expected: Message) -> None:
        """Records an execution of the open blocks' timestamp for the cycle rule."""
        ((index, message),) = executing_messages([log for _, log in executed.logs], executed.logs[0][0])
        assert message == expected
        if message.identifier.timestamp == destination.timestamp:
            self.executions.append(
                SameTimeExecution(
                    chain_id=destination.chain_id,
                    log_index=index,
                    source_chain_id=message.identifier.chain_id,
                    source_log_index=message.identifier.log_index,
                )
            )
