"""A small economy for tests: operators, delegators, rollups; steps by sub-blocks, checks conservation."""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from plait.derivation.anchor import Anchor
from plait.derivation.l1_facts import L1BlockFacts
from plait.derivation.rollup_config import BlockId, OpStackConfig, encode_config
from plait.derivation.system_config import SystemConfig
from plait.errors import ActionRefused
from plait.ledger import registry, steps
from plait.ledger.context import SubBlockContext
from plait.ledger.draft import Draft
from plait.ledger.economy import Economy, holdings
from plait.ledger.genesis import GenesisEconomy, GenesisValidator, genesis_economy
from plait.ledger.l1 import L1State, L1Terms
from plait.ledger.parameters import TOKEN, LedgerParameters
from plait.ledger.rollup_records import NetworkMode, RollupEntry, rollup_key
from plait.types import NOTHING_AGREED, NetworkParameters, OrderingPolicy, RollupParameters
from plait.types.action import BindRollup, Body, RegisterRollup, SignedAction

NETWORK = NetworkParameters(network_id=901, genesis_time_s=1_700_000_000, slot_ms=1_000, sub_blocks_per_slot=4)
PARAMETERS = LedgerParameters(
    epoch_heights=5,
    unbonding_ms=172_800_001,
    action_fee=7,
    proposal_deposit=100,
    voting_period_slots=10,
    timelock_slots=5,
    pause_slots_max=20,
    upgrade_notice_heights=4,
    rollup_fee_per_slot=3,
    rollup_fee_per_transaction=2,
    rollup_revenue_share_ppm=500_000,
    rollup_escrow_min=100,
    rollup_join_notice_slots=4,
    rollup_leave_notice_slots=4,
    issuance_ppm_per_year=0,
)


def account(number: int) -> bytes:
    """Address of an account, operators are 1, 2, ..."""
    return number.to_bytes(20, "big")


def parameters_of(rollup_id: int, **changes: object) -> RollupParameters:
    """Parameters of a rollup."""
    values: dict[str, object] = {
        "rollup_id": rollup_id,
        "genesis_hash": sha256(b"%d" % rollup_id).digest(),
        "block_time_slots": 2,
        "gas_limit": 30_000_000,
        "ordering": OrderingPolicy.PRIORITY_FEE,
        "da_footprint_gas_scalar": 0,
        "eip1559_denominator": 250,
        "eip1559_elasticity": 6,
        "min_base_fee": 0,
        "operator_fee_scalar": 0,
        "operator_fee_constant": 0,
        "base_fee_scalar": 0,
        "blob_base_fee_scalar": 0,
    }
    return RollupParameters(**(values | changes))  # type: ignore[arg-type]


def registration(rollup_id: int, start_slot: int, **changes: object) -> RegisterRollup:
    """A registration that is in order under `PARAMETERS`."""
    names = set(RegisterRollup.__struct_fields__) & set(RollupParameters.__struct_fields__) - {"ordering"}
    base = parameters_of(rollup_id, start_slot=start_slot)
    values: dict[str, object] = {name: getattr(base, name) for name in names} | {
        "ordering": 0,
        "fork": 2,
        "base_fee": 10**9,
        "fee_recipient": account(9),
        "balances": (),
        "revenue_recipient": account(8),
        "escrow": 1_000,
        "fee_per_slot_max": 10,
        "fee_per_transaction_max": 10,
    }
    return RegisterRollup(**(values | changes))  # type: ignore[arg-type]


def chain_config(rollup_id: int) -> OpStackConfig:
    """A chain that existed 100 s before the network, with blocks of 2 s."""
    return OpStackConfig(
        chain_id=rollup_id,
        l1_chain_id=900,
        genesis_l1=BlockId(1, bytes(32)),
        genesis_l2=BlockId(0, sha256(b"chain %d" % rollup_id).digest()),
        genesis_time_s=NETWORK.genesis_time_s - 100,
        genesis_system=SystemConfig(
            batcher=account(6),
            gas_limit=30_000_000,
            base_fee_scalar=1,
            blob_base_fee_scalar=1,
            eip1559_denominator=250,
            eip1559_elasticity=6,
        ),
        block_time_s=2,
        batch_inbox=account(6),
        deposit_contract=account(10_000 + rollup_id),
        system_config_contract=account(20_000 + rollup_id),
    )


def l1_of(*rollup_ids: int) -> L1State:
    """An agreed L1 of blocks 10 to 12 from which these rollups derive."""
    blocks: list[L1BlockFacts] = []
    for number in (10, 11, 12):
        blocks.append(
            L1BlockFacts(
                number=number,
                hash=sha256(b"l1 %d" % number).digest(),
                parent_hash=blocks[-1].hash if blocks else bytes(32),
                timestamp=NETWORK.genesis_time_s - 12 + number,
                base_fee=1,
                blob_base_fee=1,
                prev_randao=bytes(32),
                parent_beacon_block_root=bytes(32),
            )
        )
    terms = L1Terms(chain_id=900, lag_blocks=0, hold_s=60)
    return L1State(terms=terms, bindings=tuple(map(chain_config, rollup_ids)), blocks=tuple(blocks))


def binding(rollup_id: int, **changes: object) -> BindRollup:
    """A binding that is in order under `PARAMETERS` and `l1_of`."""
    values: dict[str, object] = {
        "rollup_id": rollup_id,
        "config": encode_config(chain_config(rollup_id)),
        "ordering": 0,
        "revenue_recipient": account(8),
        "escrow": 1_000,
        "fee_per_slot_max": 10,
        "fee_per_transaction_max": 10,
    }
    return BindRollup(**(values | changes))  # type: ignore[arg-type]


def anchor_at(rollup_id: int, slot: int, origin: int = 12) -> Anchor:
    """The chain's block of a slot."""
    config = chain_config(rollup_id)
    number = 50 + slot // 2
    return Anchor(
        config=config,
        block=BlockId(number, sha256(b"block %d" % number).digest()),
        timestamp=config.genesis_time_s + 2 * number,
        origin=BlockId(origin, sha256(b"l1 %d" % origin).digest()),
        sequence_number=0,
        system=config.genesis_system,
    )


class Council:
    """The economy over time. `act` returns the code of the refusal, or None."""

    def __init__(
        self,
        stakes: tuple[int, ...] = (40, 30, 20, 10),
        *,
        mode: NetworkMode = NetworkMode.MARKETPLACE,
        parameters: LedgerParameters = PARAMETERS,
        balance: int = 1_000 * TOKEN,
        accounts: int = 20,
        rollups: tuple[RollupEntry, ...] | None = None,
        l1: L1State | None = None,
    ) -> None:
        validators = tuple(
            GenesisValidator(
                operator=account(number),
                public_key=sha256(b"key %d" % number).digest(),
                stake=stake * TOKEN,
                name=f"validator {number}",
            )
            for number, stake in enumerate(stakes, 1)
        )
        if rollups is None:
            rollups = (registry.genesis_entry(parameters_of(100), account(15), escrow=10**9),)
        genesis = GenesisEconomy(
            mode=mode,
            parameters=parameters,
            accounts=tuple((account(number), balance) for number in range(1, accounts + 1)),
            validators=validators,
            rollups=rollups,
        )
        self.economy: Economy = genesis_economy(genesis)
        self.l1 = l1
        self.cannot_join: frozenset[int] = frozenset()
        """Anchored chains that too few hold."""
        self.height = 0
        self.slot = 0
        self.effects: list[object] = []
        self._open()

    def _open(self) -> None:
        self.height += 1
        self.ctx = SubBlockContext(
            network=NETWORK,
            height=self.height,
            slot=self.slot,
            time_ms=(NETWORK.genesis_time_s + self.slot) * 1_000 + self.height % 4,
            l1=self.l1,
        )
        self.draft = Draft(self.economy)
        due = registry.due(self.economy, self.slot)
        for entry in due.leaves:
            registry.depart(self.draft, self.ctx, entry.rollup_id, (registry.last_block(entry), bytes(32)))
        due_now = frozenset(entry.rollup_id for entry in due.joins if entry.joining is not None)
        steps.begin(self.draft, self.ctx, NOTHING_AGREED, cannot_join=self.cannot_join & due_now)

    def act(self, sender: int, body: Body, **changes: object) -> str | None:
        """Applies an action in the open sub-block; the code when it is refused."""
        before = self.draft.freeze()
        address = account(sender)
        action = SignedAction(
            raw=b"",
            hash=sha256(b"%d %d" % (sender, self.draft.nonce(address))).digest(),
            sender=address,
            nonce=self.draft.nonce(address),
            max_fee=10**18,
            body=body,
        )
        try:
            steps.act(self.draft, self.ctx, msgspec.structs.replace(action, **changes))
        except ActionRefused as error:
            assert self.draft.freeze() == before, "a refused action left a trace"
            return error.code
        return None

    def step(self, slots: int = 0, usage: Mapping[int, int] | None = None) -> list[object]:
        """Ends the sub-block and opens the next one, `slots` later; returns the effects of the ended one."""
        steps.end(self.draft, self.ctx, usage or {})
        effects = self.draft.effects
        self.economy = self.draft.freeze()
        self.check()
        self.slot += slots
        self._open()
        self.effects = effects
        return effects

    def pass_slots(self, slots: int, *, at_once: bool = False) -> None:
        """Lets slots go by, one sub-block each, or in one jump."""
        for _ in range(1 if at_once else slots):
            self.step(slots if at_once else 1)

    def check(self) -> None:
        """Every unit is somewhere."""
        held = holdings(self.economy)
        assert held.total == self.economy.supply.genesis + self.economy.supply.issued, held
        assert min(msgspec.structs.astuple(held)) >= 0

    def rollup(self, rollup_id: int) -> RollupEntry | None:
        """The rollup in the open sub-block."""
        return self.draft.rollups.get(rollup_key(rollup_id))

    def balance(self, number: int) -> int:
        """Balance in the open sub-block."""
        return self.draft.balance(account(number))
