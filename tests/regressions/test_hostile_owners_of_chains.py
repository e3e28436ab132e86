"""Owners of chains that come into a running network, and what they did to everybody's nodes."""

import msgspec

from plait.codec.rlp import Reader
from plait.derivation.anchor import Anchor
from plait.derivation.l1_facts import VAULT_NONCE_MAX, VaultDeposit
from plait.derivation.rollup_config import BlockId, encode_config
from plait.ledger import registry
from plait.ledger.draft import Draft
from plait.ledger.encoding import decode_ledger, encode_ledger
from plait.ledger.l1_encoding import decode_l1, encode_l1
from plait.ledger.l1_vault import credit
from plait.ledger.parameters import TOKEN
from plait.ledger.rollup_records import FORKS, RollupEntry, RollupGenesis, RollupStatus
from plait.limits import L1_BINDINGS_PAUSE_SLOTS
from plait.native import Rollup, Store, merkle_root
from plait.protocol.proposal import decode_proposal, encode_header, encode_proposal
from plait.protocol.requests import Refused
from plait.types import Address, BlockNumber, Gas, Hash32, Milliseconds, RollupId, Slot, Wei
from plait.types.action import BindRollup, LeaveRollup, RegisterRollup, SignedAction
from plait.types.quantities import Amount
from sim.l1_joining import CHAIN, JoiningWorld
from sim.l1_world import L1World


def bound() -> JoiningWorld:
    world = JoiningWorld(validators=0)
    world.pass_seconds(4)
    world.pass_second([world.bind()])
    assert not refused(world)
    world.pass_seconds(6)
    return world


def refused(world: JoiningWorld) -> list[str]:
    """Why actions of the last height were left out."""
    return [one.code for one in world.failed]


def registration(world: JoiningWorld, start_slot: int) -> SignedAction:
    """An embedded rollup under the chain's id, in order."""
    body = RegisterRollup(
        rollup_id=CHAIN,
        start_slot=Slot(start_slot),
        block_time_slots=1,
        gas_limit=Gas(30_000_000),
        ordering=0,
        interop_set=0,
        da_footprint_gas_scalar=0,
        eip1559_denominator=250,
        eip1559_elasticity=6,
        min_base_fee=Wei(0),
        operator_fee_scalar=0,
        operator_fee_constant=0,
        base_fee_scalar=0,
        blob_base_fee_scalar=0,
        fork=2,
        base_fee=Wei(10**9),
        fee_recipient=world.owner_address,
        balances=(),
        genesis_hash=Hash32(bytes(32)),
        revenue_recipient=world.owner_address,
        escrow=Amount(200 * TOKEN),
        fee_per_slot_max=Amount(TOKEN),
        fee_per_transaction_max=Amount(TOKEN),
    )
    entry = RollupEntry(
        rollup_id=CHAIN,
        owner=world.owner_address,
        status=RollupStatus.PENDING,
        parameters=registry.parameters_of(body),
        genesis=RollupGenesis(
            fork=FORKS[body.fork], base_fee=body.base_fee, fee_recipient=body.fee_recipient, balances=()
        ),
        terms=None,
        revenue_recipient=body.revenue_recipient,
        escrow=body.escrow,
        charged_slot=body.start_slot,
    )
    made = Rollup.from_genesis(world.network.source.genesis_json(entry), Store.in_memory())
    return world.action(msgspec.structs.replace(body, genesis_hash=Hash32(made.genesis_hash)))


def test_an_anchor_of_another_chain_is_refused() -> None:
    """It gave a chain the parameters of another one: nobody could read the ledger's bytes any more."""
    world = bound()
    other = world.state.binding(world.ids[0])
    assert other is not None
    head = world.state.head
    blocks = (head.timestamp - other.genesis_time_s) // other.block_time_s
    anchor = Anchor(
        config=other,
        block=BlockId(BlockNumber(blocks), Hash32(b"\x01" * 32)),
        timestamp=head.timestamp,
        origin=BlockId(head.number, head.hash),
        sequence_number=0,
        system=other.genesis_system,
    )
    world.pass_second([world.anchor(world.second + 14, anchor)])
    ledger = world.nodes[0].ledger
    assert decode_ledger(encode_ledger(ledger)) == ledger
    assert refused(world) == ["rollup_anchor_invalid"]


def test_the_id_of_a_chain_that_was_let_go_is_no_embedded_rollups_while_it_is_bound() -> None:
    """Such a rollup never opened a block, and the slot of all the others ended with what it might have missed."""
    world = bound()
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    world.pass_second([world.action(LeaveRollup(rollup_id=CHAIN, at_slot=Slot(0)))])
    world.pass_second([world.bind()])  # the set changed just now, when the chain left it
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    world.pass_second([world.bind()])
    assert not refused(world)
    world.pass_second([world.action(LeaveRollup(rollup_id=CHAIN, at_slot=Slot(0)))])
    assert world.entry is None
    assert world.state.binding(CHAIN) is not None
    world.pass_second([registration(world, world.second + 14)])
    assert refused(world) == ["registry_busy"]
    world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS)
    assert world.state.binding(CHAIN) is None
    start_slot = world.second + 14
    world.pass_second([registration(world, start_slot)])
    assert not refused(world)
    while world.second < start_slot + 5:
        world.pass_second()
    assert world.nodes[0].rollups[CHAIN].head.number == 4


def test_chains_that_are_bound_and_leave_in_turn_are_forgotten() -> None:
    """Each binding came before the last one's end in the first sub-block that allows a change: none ever ended, and
    with more than ROLLUPS_MAX nobody could read the ledger's bytes any more."""
    world = JoiningWorld(validators=0)
    world.pass_seconds(4)
    for place in range(5):
        chain_id = RollupId(2_000 + place)
        config = msgspec.structs.replace(world.chain.config, chain_id=chain_id)
        body = BindRollup(
            rollup_id=chain_id,
            config=encode_config(config),
            ordering=0,
            revenue_recipient=world.owner_address,
            escrow=Amount(200 * TOKEN),
            fee_per_slot_max=Amount(TOKEN),
            fee_per_transaction_max=Amount(TOKEN),
        )
        world.pass_second([world.action(body)])
        assert not refused(world)
        assert [one.chain_id for one in world.state.bindings] == [*world.ids, chain_id]
        world.pass_second([world.action(LeaveRollup(rollup_id=chain_id, at_slot=Slot(0)))])
        world.pass_seconds(L1_BINDINGS_PAUSE_SLOTS - 2)


def test_a_proposer_cannot_have_the_l1_judged_after_every_action() -> None:
    """What is said of the L1 between the actions of accounts had the agreed chain searched once for each."""
    world = JoiningWorld(validators=4)
    world.pass_seconds(4)
    world.time_ms = Milliseconds(world.time_ms + 1_000)
    world.report(facts=False)
    proposal = decode_proposal(world.prepare(actions=[world.bind()]).proposal)
    entries = [*proposal.actions[-1:], *proposal.actions[:-1]]
    assert len(entries) > 1
    header = msgspec.structs.replace(proposal.header, actions_root=Hash32(merkle_root(entries)))
    verdict = world.verdicts(encode_proposal(encode_header(header), proposal.blocks, (), entries))[0]
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.fields.get("reason")) == ("action_not_applicable", "l1_report_late")


def test_the_greatest_nonce_of_a_vault_leaves_a_ledger_that_can_be_read() -> None:
    world = L1World(validators=4, vault=b"\xaa" * 20)
    draft = Draft(world.nodes[0].ledger.economy)
    state = credit(draft, world.state, [VaultDeposit(VAULT_NONCE_MAX, Address(b"\x01" * 20), 1)])
    reader = Reader(encode_l1(state), what="L1").read_list("L1")
    assert decode_l1(reader) == state


def test_a_chain_with_the_contracts_of_a_rollup_is_not_bound() -> None:
    """Forty of them, and a deposit of 100 KB to the rollup was more than a block's facts hold: it stood for ever."""
    world = JoiningWorld(validators=0)
    world.pass_seconds(4)
    other = world.state.binding(world.ids[0])
    assert other is not None
    for field in ("deposit_contract", "system_config_contract"):
        changed = msgspec.structs.replace(world.chain.config, **{field: getattr(other, field)})
        world.pass_second([world.bind(changed)])
        assert refused(world) == ["rollup_config_invalid"]
    world.pass_second([world.bind()])
    assert not refused(world)
