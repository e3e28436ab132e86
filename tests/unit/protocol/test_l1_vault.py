"""Deposits of the stake vault on L1 become tokens of the ledger: once, in order, final, never more than there are."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from plait.derivation.l1_facts import VaultDeposit, decode_l1_facts, encode_l1_facts, l1_facts_digest
from plait.errors import CodecError
from plait.l1.contract_proofs import exit_account
from plait.ledger.draft import Draft
from plait.ledger.economy import holdings
from plait.ledger.encoding import decode_ledger, encode_ledger, ledger_root
from plait.ledger.happenings import VaultDepositCredited
from plait.ledger.l1 import VaultRecord
from plait.ledger.l1_vault import credit, final_deposits
from plait.ledger.parameters import TOKEN
from plait.limits import L1_REORG_BLOCKS_MAX, L1_VAULT_DEPOSITS_MAX, SUPPLY_MAX
from plait.protocol.requests import FinalizeRequest
from plait.types import Address
from sim.l1_world import L1World

VAULT = b"\xaa" * 20
ALICE, BOB = Address(b"\xa1" * 20), Address(b"\xb0" * 20)


def balance(world: L1World, account: Address) -> int:
    found = world.nodes[0].ledger.economy.accounts.get(account)
    return 0 if found is None else found.balance


def conserved(world: L1World) -> bool:
    economy = world.nodes[0].ledger.economy
    return holdings(economy).total == economy.supply.genesis + economy.supply.issued


def seconds(world: L1World, count: int) -> None:
    """Lets the L1 and the network go on: one L1 block and one height every two seconds, agreed at once."""
    for _ in range(count):
        world.l1.grow()
        world.report()
        world.step(2_000)


@pytest.mark.parametrize("validators", [0, 4])
def test_a_deposit_is_credited_when_no_report_can_take_its_block_back(validators: int) -> None:
    """Nothing before its block is L1_REORG_BLOCKS_MAX behind the oldest origin; then all of it, once."""
    world = L1World(validators=validators, vault=VAULT)
    before = holdings(world.nodes[0].ledger.economy).total
    world.l1.grow(vault=[(ALICE, 5 * TOKEN), (BOB, 7 * TOKEN)])
    world.report()
    world.step(2_000)
    at = world.l1.head.number
    credited = 0
    for _ in range(L1_REORG_BLOCKS_MAX + 4):
        seconds(world, 1)
        if balance(world, ALICE):
            credited = credited or world.state.blocks[0].number
        else:
            assert world.state.blocks[0].number < at
    assert credited == at
    assert (balance(world, ALICE), balance(world, BOB)) == (5 * TOKEN, 7 * TOKEN)
    assert world.state.vault == VaultRecord(2, 12 * TOKEN)
    assert holdings(world.nodes[0].ledger.economy).total == before + 12 * TOKEN
    assert conserved(world)
    said = [one for effect in world.decided for one in effect.ledger_effects if isinstance(one, VaultDepositCredited)]
    assert [(one.nonce, one.account, one.amount) for one in said] == [(0, ALICE, 5 * TOKEN), (1, BOB, 7 * TOKEN)]


@pytest.mark.parametrize("seed", range(4))
def test_what_the_ledger_credits_is_what_the_vault_holds_on_every_history(seed: int, tmp_path: Path) -> None:
    """Over random deposits, reorganisations, pauses and restarts: what is credited is the final part of what the L1's
    chain says, in its order; all nodes agree, and a node that replays the log too. Replay: -k every_history[SEED].
    """
    random = Random(seed)
    world = L1World(validators=4, vault=VAULT, seed=seed)
    accounts = [Address(bytes((place + 1,)) * 20) for place in range(5)]
    for round_ in range(130):
        event = random.random()
        if event < 0.06 and len(world.l1.blocks) > 4:
            world.l1.reorganise(random.randint(1, min(12, len(world.l1.blocks) - 1)), grow=1)
        deposits = [(random.choice(accounts), random.randint(1, 9) * TOKEN) for _ in range(random.choice((0, 0, 1, 3)))]
        world.l1.grow(vault=deposits)
        reporters = random.sample(range(4), 4 if random.random() < 0.8 else 2)
        world.report(reporters)
        world.step(random.choice((2_000, 2_000, 4_000)))
        if round_ % 40 == 39:
            world.restart(random.randrange(4), tmp_path)
        base = world.state.blocks[0].number
        final = [one for block in world.l1.blocks[1:] if block.number <= base for one in block.vault]
        assert world.state.vault.credited == sum(one.amount for one in final), f"seed {seed}, round {round_}"
        for account in accounts:
            assert balance(world, account) == sum(one.amount for one in final if one.account == account)
        assert conserved(world)
    assert world.state.vault.next_nonce > 0, f"seed {seed}: nothing was credited, the test shows nothing"
    fresh = world.network.application()
    for effect in world.decided:
        fresh.finalize(FinalizeRequest(height=effect.height, time_ms=effect.time_ms, proposal=effect.proposal))
        fresh.commit()
    assert fresh.app_hash == world.nodes[0].app_hash


def test_a_reorganisation_before_that_leaves_no_trace_of_a_deposit() -> None:
    """What L1 took back was never credited, and what came instead is."""
    world = L1World(validators=4, vault=VAULT)
    seconds(world, 3)
    world.l1.grow(vault=[(ALICE, 5 * TOKEN)])
    world.report()
    world.step(2_000)
    seconds(world, 5)
    world.l1.reorganise(6)
    world.l1.grow(vault=[(BOB, 3 * TOKEN)])
    seconds(world, L1_REORG_BLOCKS_MAX + 12)
    assert (balance(world, ALICE), balance(world, BOB)) == (0, 3 * TOKEN)
    assert world.state.vault == VaultRecord(1, 3 * TOKEN)


def test_a_network_without_a_vault_credits_nothing_and_has_the_bytes_that_it_had() -> None:
    """The vault is an optional last field everywhere; who names none is not touched by it."""
    world = L1World(validators=0)
    world.l1.grow(vault=[(ALICE, 5 * TOKEN)])
    seconds(world, L1_REORG_BLOCKS_MAX + 4)
    assert balance(world, ALICE) == 0
    assert world.state.vault == VaultRecord()
    plain = msgspec.structs.replace(world.l1.block(101), vault=())
    assert encode_l1_facts(plain) != encode_l1_facts(world.l1.block(101))
    named = L1World(validators=0, vault=VAULT).nodes[0].ledger
    assert ledger_root(named) != ledger_root(L1World(validators=0).nodes[0].ledger)


def test_canonical_bytes_hold_the_vault() -> None:
    """Facts and ledger with a vault come back as they were; anything but ascending, bounded deposits is refused."""
    world = L1World(validators=4, vault=VAULT)
    world.l1.grow(vault=[(ALICE, 5 * TOKEN), (BOB, TOKEN)])
    seconds(world, L1_REORG_BLOCKS_MAX + 4)
    facts = world.l1.block(101)
    assert decode_l1_facts(encode_l1_facts(facts)) == facts
    ledger = world.nodes[0].ledger
    assert decode_ledger(encode_ledger(ledger)) == ledger
    assert l1_facts_digest(facts) != l1_facts_digest(msgspec.structs.replace(facts, vault=facts.vault[:1]))
    wrong = [facts.vault[::-1], facts.vault[:1] * 2]
    wrong.append(tuple(VaultDeposit(nonce, ALICE, 1) for nonce in range(L1_VAULT_DEPOSITS_MAX + 1)))
    for deposits in wrong:
        with pytest.raises(CodecError):
            decode_l1_facts(encode_l1_facts(msgspec.structs.replace(facts, vault=deposits)))


def test_a_nonce_counts_once_and_nothing_is_made_beyond_the_bound() -> None:
    """Whatever a contract announces: a nonce that was credited is passed over, and the supply stays below its bound."""
    world = L1World(validators=4, vault=VAULT)
    draft = Draft(world.nodes[0].ledger.economy)
    there = draft.supply.genesis + draft.supply.issued
    state = credit(draft, world.state, [VaultDeposit(7, ALICE, 5), VaultDeposit(7, ALICE, 5), VaultDeposit(3, BOB, 1)])
    assert draft.balance(ALICE) == 5
    assert draft.balance(BOB) == 0
    state = credit(draft, state, [VaultDeposit(8, BOB, SUPPLY_MAX), VaultDeposit(9, BOB, 2), VaultDeposit(8, BOB, 1)])
    assert draft.balance(BOB) == 2
    assert state.vault == VaultRecord(10, 7)
    assert draft.supply.genesis + draft.supply.issued == there + 7
    assert final_deposits(state, state) == ()


@pytest.mark.parametrize("seed", range(5))
def test_no_more_leaves_than_lies_in_the_vault(seed: int) -> None:
    """Where all tokens come through the vault, exit accounts together never hold more than it does: over random
    deposits, transfers and restarts of the economy, what is proven to L1 is covered. Replay: -k leaves_than[SEED].
    """
    random = Random(seed)
    world = L1World(validators=0, vault=VAULT)
    state, draft = world.state, Draft(world.nodes[0].ledger.economy)
    assert holdings(draft.freeze()).total == 0
    accounts = [Address(bytes((place + 1,)) * 20) for place in range(6)]
    exits = [exit_account(900, Address(VAULT), account) for account in accounts[:3]]
    locked, nonce = 0, 0
    for _ in range(400):
        if random.random() < 0.3:
            amount = random.randint(1, 10**20)
            deposits = [VaultDeposit(nonce, random.choice(accounts), amount)] * random.choice((1, 1, 2))
            state, locked, nonce = credit(draft, state, deposits), locked + amount, nonce + 1
        giver, taker = random.choice(accounts), random.choice([*accounts, *exits])
        amount = random.randint(0, 10**20)
        if draft.balance(giver) >= amount:
            draft.debit(giver, amount)
            draft.credit(taker, amount)
        if random.random() < 0.1:
            draft = Draft(draft.freeze())
        assert sum(map(draft.balance, exits)) <= locked, f"seed {seed}"
        assert state.vault.credited == locked == holdings(draft.freeze()).total, f"seed {seed}"
