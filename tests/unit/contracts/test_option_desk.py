"""The option desk on the native core: who gets what at each end of a deal, who may do what when, and that it keeps
nothing."""

from __future__ import annotations

from random import Random

import pytest
from eth_abi import encode

from plait.native import keccak256
from plait.rollups.contracts import artifact
from plait.types import Seconds
from sim.wallet import Wallet
from tests.unit.contracts.desk import CALL, PUT, STATES, TERMS, UNIT, WEALTH, WINDOW_S, Desk
from tests.unit.interop.pair import ALICE, BOB, RELAYER, A, Executed, Side, calldata, error

SIZE, STRIKE, PREMIUM = 10 * UNIT, 2_200 * UNIT, 450 * UNIT
WORTH = 22_000 * UNIT
FITS = {"buy": "offered", "write": "bid", "withdraw": "offered", "exercise": "open", "reclaim": "open"}
NOTHING = {"alice": (0, 0), "bob": (0, 0), "stranger": (0, 0), "desk": (0, 0)}


@pytest.fixture
def desk() -> Desk:
    return Desk(Side(A, 1))


def expiry_of(desk: Desk, in_s: int = 3) -> int:
    return int(desk.side.timestamp) + in_s


def expect(executed: Executed, signature: str, *values: object) -> None:
    """The transaction was reverted with this error."""
    assert executed.status == 0
    assert executed.output == (calldata(signature, *values) if values else error(signature))


def deal(desk: Desk, kind: int, way: str) -> tuple[int, int]:
    """BOB writes, ALICE holds, by either way of making a deal: (id, expiry)."""
    expiry = expiry_of(desk)
    if way == "offer":
        option = desk.start("offer", BOB, kind, SIZE, STRIKE, PREMIUM, expiry)
        taken = desk.do(ALICE, "buy(uint256)", option)
    else:
        option = desk.start("bid", ALICE, kind, SIZE, STRIKE, PREMIUM, expiry)
        taken = desk.do(BOB, "write(uint256)", option)
    assert taken.status == 1, taken.failure
    assert taken.logs[0][1].topics[0] == keccak256(b"Dealt(uint256,address,address,uint256)")
    assert desk.state(option) == "open"
    return option, expiry


def secured(kind: int) -> tuple[int, int]:
    """(asset, money) in escrow for one option."""
    return (SIZE, 0) if kind == CALL else (0, WORTH)


@pytest.mark.parametrize("way", ["offer", "bid"])
@pytest.mark.parametrize("kind", [CALL, PUT])
def test_a_deal_moves_the_premium_to_the_writer_and_locks_the_collateral(desk: Desk, kind: int, way: str) -> None:
    deal(desk, kind, way)
    asset, money = secured(kind)
    assert desk.everything() == {
        "alice": (0, -PREMIUM), "bob": (-asset, PREMIUM - money), "stranger": (0, 0), "desk": (asset, money),
    }  # fmt: skip


@pytest.mark.parametrize("way", ["offer", "bid"])
@pytest.mark.parametrize("kind", [CALL, PUT])
def test_exercise_exchanges_size_for_its_worth_at_the_strike(desk: Desk, kind: int, way: str) -> None:
    option, expiry = deal(desk, kind, way)
    desk.side.advance(Seconds(expiry))
    assert desk.do(ALICE, "exercise(uint256)", option).status == 1
    sign = 1 if kind == CALL else -1
    assert desk.everything() == NOTHING | {
        "alice": (sign * SIZE, -sign * WORTH - PREMIUM), "bob": (-sign * SIZE, sign * WORTH + PREMIUM),
    }  # fmt: skip
    assert desk.state(option) == "exercised"
    expect(desk.do(ALICE, "exercise(uint256)", option), "WrongState(uint8,uint8)", 4, 3)


@pytest.mark.parametrize("kind", [CALL, PUT])
def test_an_option_not_exercised_gives_the_collateral_back_to_its_writer(desk: Desk, kind: int) -> None:
    option, expiry = deal(desk, kind, "offer")
    end = expiry + WINDOW_S
    expect(desk.do(BOB, "reclaim(uint256)", option), "TooEarly(uint256,uint256)", int(desk.side.timestamp), end)
    jump(desk, end)
    expect(desk.do(ALICE, "reclaim(uint256)", option), "NotParty(address)", ALICE.address)
    late = desk.do(ALICE, "exercise(uint256)", option)
    expect(late, "TooLate(uint256,uint256)", int(desk.side.timestamp), end - 1)
    assert desk.do(BOB, "reclaim(uint256)", option).status == 1
    assert desk.everything() == NOTHING | {"alice": (0, -PREMIUM), "bob": (0, PREMIUM)}
    assert desk.state(option) == "reclaimed"
    expect(desk.do(BOB, "reclaim(uint256)", option), "WrongState(uint8,uint8)", 5, 3)


def jump(desk: Desk, timestamp: int) -> None:
    """Makes the next blocks far apart: a day of one-second blocks would take minutes."""
    side = desk.side
    usual, side.block_time_s = side.block_time_s, timestamp - int(side.timestamp)
    side.advance(Seconds(timestamp))
    side.block_time_s = usual


def test_exercise_is_possible_in_the_first_and_last_second_of_the_window_and_not_around_it(desk: Desk) -> None:
    first, expiry = deal(desk, CALL, "offer")
    second, _ = deal(desk, CALL, "offer")
    desk.side.advance(Seconds(expiry - 1))
    expect(desk.do(ALICE, "exercise(uint256)", first), "TooEarly(uint256,uint256)", expiry - 1, expiry)
    desk.side.advance(Seconds(expiry))
    assert desk.do(ALICE, "exercise(uint256)", first).status == 1
    jump(desk, expiry + WINDOW_S - 1)
    expect(desk.do(BOB, "reclaim(uint256)", second), "TooEarly(uint256,uint256)", expiry + WINDOW_S - 1,
           expiry + WINDOW_S)  # fmt: skip
    assert desk.do(ALICE, "exercise(uint256)", second).status == 1


@pytest.mark.parametrize(("what", "wallet", "other"), [("offer", BOB, ALICE), ("bid", ALICE, BOB)])
@pytest.mark.parametrize("kind", [CALL, PUT])
def test_what_nobody_took_goes_back_to_its_maker_only(
    desk: Desk, kind: int, what: str, wallet: Wallet, other: Wallet
) -> None:
    option = desk.start(what, wallet, kind, SIZE, STRIKE, PREMIUM, expiry_of(desk))
    assert desk.everything()["desk"] == (secured(kind) if what == "offer" else (0, PREMIUM))
    expect(desk.do(other, "withdraw(uint256)", option), "NotParty(address)", other.address)
    assert desk.do(wallet, "withdraw(uint256)", option).status == 1
    assert desk.everything() == NOTHING
    taking = "buy(uint256)" if what == "offer" else "write(uint256)"
    expect(desk.do(other, taking, option), "WrongState(uint8,uint8)", 6, 1 if what == "offer" else 2)
    expect(desk.do(wallet, "withdraw(uint256)", option), "WrongState(uint8,uint8)", 6, 1)


def test_an_open_deal_cannot_be_withdrawn_or_taken_again(desk: Desk) -> None:
    option, _ = deal(desk, CALL, "offer")
    for wallet in (ALICE, BOB):
        expect(desk.do(wallet, "withdraw(uint256)", option), "WrongState(uint8,uint8)", 3, 1)
    expect(desk.do(ALICE, "buy(uint256)", option), "WrongState(uint8,uint8)", 3, 1)
    expect(desk.do(ALICE, "write(uint256)", option), "WrongState(uint8,uint8)", 3, 2)


def test_only_the_holder_exercises(desk: Desk) -> None:
    option, expiry = deal(desk, CALL, "offer")
    desk.side.advance(Seconds(expiry))
    for wallet in (BOB, RELAYER):
        expect(desk.do(wallet, "exercise(uint256)", option), "NotParty(address)", wallet.address)


def test_nothing_is_made_or_taken_from_its_expiry_on(desk: Desk) -> None:
    offered = desk.start("offer", BOB, CALL, SIZE, STRIKE, PREMIUM, expiry := expiry_of(desk))
    wanted = desk.start("bid", ALICE, PUT, SIZE, STRIKE, PREMIUM, expiry)
    desk.side.advance(Seconds(expiry))
    passed = ("ExpiryPassed(uint256,uint256)", expiry, expiry)
    expect(desk.do(ALICE, "buy(uint256)", offered), *passed)
    expect(desk.do(BOB, "write(uint256)", wanted), *passed)
    for what in ("offer", "bid"):
        expect(desk.do(BOB, what + TERMS, CALL, SIZE, STRIKE, PREMIUM, expiry), *passed)
    for wallet, option in ((BOB, offered), (ALICE, wanted)):
        assert desk.do(wallet, "withdraw(uint256)", option).status == 1
    assert desk.everything() == NOTHING


@pytest.mark.parametrize("what", ["offer", "bid"])
def test_an_option_on_nothing_is_refused(desk: Desk, what: str) -> None:
    expect(desk.do(BOB, what + TERMS, CALL, 0, STRIKE, PREMIUM, expiry_of(desk)), "SizeZero()")


@pytest.mark.parametrize("what", ["buy", "write", "withdraw", "exercise", "reclaim"])
def test_an_option_that_does_not_exist_is_named(desk: Desk, what: str) -> None:
    deal(desk, CALL, "offer")
    expect(desk.do(ALICE, f"{what}(uint256)", 1), "UnknownOption(uint256)", 1)


def test_who_cannot_pay_deals_nothing(desk: Desk) -> None:
    """The token's own error comes through, and the option stays as it was: collateral, premium, and exercise price."""
    too_much = WEALTH + UNIT
    short = ("ERC20InsufficientBalance(address,uint256,uint256)", ALICE.address, WEALTH)
    expiry = expiry_of(desk)
    expect(desk.do(ALICE, "offer" + TERMS, CALL, too_much, STRIKE, PREMIUM, expiry), *short, too_much)
    expect(desk.do(ALICE, "bid" + TERMS, CALL, SIZE, STRIKE, too_much, expiry), *short, too_much)
    dear = desk.start("offer", BOB, CALL, SIZE, STRIKE, too_much, expiry)
    expect(desk.do(ALICE, "buy(uint256)", dear), *short, too_much)
    large = desk.start("bid", BOB, PUT, UNIT, too_much, PREMIUM, expiry)
    expect(desk.do(ALICE, "write(uint256)", large), *short, too_much)
    held = desk.start("offer", BOB, CALL, UNIT, too_much, 0, expiry)
    assert desk.do(ALICE, "buy(uint256)", held).status == 1
    desk.side.advance(Seconds(expiry))
    expect(desk.do(ALICE, "exercise(uint256)", held), *short, too_much)
    assert [desk.state(option) for option in (dear, large, held)] == ["offered", "bid", "open"]
    assert desk.everything()["alice"] == (0, 0)


def test_the_worth_is_rounded_up_and_the_same_amount_goes_in_and_out(desk: Desk) -> None:
    """A put on 3 smallest units at half a unit of money: 2 (1.5 rounded up) are locked and paid out."""
    strike = UNIT // 2
    assert desk.side.ask(desk.address, "worthOf(uint256,uint256)", 3, strike) == 2
    option = desk.start("offer", BOB, PUT, 3, strike, 0, expiry := expiry_of(desk))
    assert desk.everything()["desk"] == (0, 2)
    assert desk.do(ALICE, "buy(uint256)", option).status == 1
    desk.side.advance(Seconds(expiry))
    assert desk.do(ALICE, "exercise(uint256)", option).status == 1
    assert desk.everything() == NOTHING | {"alice": (-3, 2), "bob": (3, -2)}


def test_terms_that_no_word_holds_are_refused(desk: Desk) -> None:
    """size times strike beyond 2**256: Panic(0x11) before anything moves."""
    executed = desk.do(BOB, "offer" + TERMS, PUT, 2**200, 2**200, 0, expiry_of(desk))
    expect(executed, "Panic(uint256)", 0x11)


def test_a_desk_needs_two_tokens() -> None:
    code = artifact("OptionDesk").creation_code + encode(["address"] * 2, [ALICE.address] * 2)
    expect(Side(A, 1).execute(ALICE, b"", code), "SameToken()")


def random_dealing(desk: Desk, seed: int) -> set[str]:
    """Random calls by two accounts, allowed or not; the states that were reached. Checks the escrow after each."""
    random = Random(seed)
    terms: list[tuple[int, int, int, int]] = []
    reached: set[str] = set()
    for step in range(140):
        wallet = random.choice((ALICE, BOB))
        if step < 20 or random.random() < 0.2:
            what, kind = random.choice(("offer", "bid")), random.choice((CALL, PUT))
            size, strike, premium = random.randrange(1, 10**20), random.randrange(10**21), random.randrange(10**20)
            expiry = expiry_of(desk, random.randrange(2, 9))
            option = desk.start(what, wallet, kind, size, strike, premium, expiry)
            assert option == len(terms)
            terms.append((kind, size, strike, premium))
        else:
            what = random.choice(("buy", "write", "withdraw", "exercise", "exercise", "reclaim"))
            if step > 120:
                what = "reclaim"
            likely = [option for option in range(len(terms)) if desk.state(option) == FITS[what]]
            known = likely if likely and random.random() < 0.8 else range(len(terms))
            desk.do(wallet, f"{what}(uint256)", random.choice(known))
        if random.random() < 0.15:
            desk.side.advance(Seconds(desk.side.timestamp + 1))
        elif step == 120:
            jump(desk, int(desk.side.timestamp) + WINDOW_S + 9)
        asset = money = 0
        for option, (kind, size, strike, premium) in enumerate(terms):
            state = desk.state(option)
            reached.add(state)
            if state in {"offered", "open"}:
                asset += size if kind == CALL else 0
                money += 0 if kind == CALL else -(-size * strike // UNIT)
            elif state == "bid":
                money += premium
        assert desk.holdings(desk.address) == (asset, money)
    for at in (0, 1):
        assert sum(change[at] for change in desk.everything().values()) == 0
    return reached


def test_the_desk_holds_exactly_what_its_live_options_need() -> None:
    """Escrow is what the states say after every call, and no token is made or lost; every state is reached."""
    reached: set[str] = set()
    for seed in range(6):
        print(f"replay: random_dealing(Desk(Side(A, 1)), {seed})")
        reached |= random_dealing(Desk(Side(A, 1)), seed)
    assert reached == set(STATES) - {"none"}
