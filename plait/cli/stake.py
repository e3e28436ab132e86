"""`plait account`, `transfer`, `delegate`, `undelegate`, `rewards`: tokens and stake of one account."""

from pathlib import Path
from typing import Any

import click

from plait.cli.acting import AMOUNT, account_address, acting_options, run, send, tokens, validator_operator
from plait.cli.keys import keys_dir_option
from plait.cli.output import json_option, out, print_json, url_option
from plait.client import Client
from plait.types import Address, Amount
from plait.types.action import Body, Delegate, Transfer, Undelegate, WithdrawCommission, WithdrawRewards


@click.command()
@click.argument("who", metavar="ADDRESS|NAME")
@keys_dir_option
@url_option
@json_option
def account(who: str, keys_dir: Path | None, url: str, as_json: bool) -> None:
    """Show an account: balance, what it has bonded and earned, what is unbonding."""
    address = "0x" + account_address(who, keys_dir).hex()

    async def work(client: Client) -> dict[str, Any]:
        found: dict[str, Any] = await client.call("plait_getAccount", address)
        found.update(await client.call("plait_getDelegations", address))
        return found

    found = run(url, work)
    if as_json:
        print_json(found)
        return
    out.print(f"{found['address']}  {tokens(found['balance'])}  next nonce {found['nextNonce']}", markup=False)
    for entry in found["delegations"]:
        earned = f"{tokens(entry['amount'])} bonded, {tokens(entry['rewards'])} earned"
        out.print(f"  {entry['name'] or entry['validator']:<24} {earned}", markup=False)
    for entry in found["unbonding"]:
        out.print(f"  unbonding {tokens(entry['amount'])} from {entry['validator']}", markup=False)


@click.command()
@click.argument("to", metavar="ADDRESS|NAME")
@click.argument("amount", type=AMOUNT)
@acting_options
def transfer(to: str, amount: Amount, **options: Any) -> None:
    """Send AMOUNT of PLAIT to an account."""
    body = Transfer(to=account_address(to, options["keys_dir"]), amount=amount)
    send(body, f"sent {tokens(amount)} to {to}", options)


@click.command()
@click.argument("validator", metavar="OPERATOR|NAME")
@click.argument("amount", type=AMOUNT)
@acting_options
def delegate(validator: str, amount: Amount, **options: Any) -> None:
    """Bond AMOUNT of PLAIT to a validator; it earns from the next epoch on, and shares the validator's slashes."""

    async def body(client: Client, _: Address) -> Body:
        return Delegate(validator=await validator_operator(client, validator), amount=amount)

    send(body, f"bonded {tokens(amount)} to {validator}", options)


@click.command()
@click.argument("validator", metavar="OPERATOR|NAME")
@click.argument("amount", type=AMOUNT)
@acting_options
def undelegate(validator: str, amount: Amount, **options: Any) -> None:
    """Begin to unbond AMOUNT of PLAIT from a validator; it comes free after the unbonding time."""

    async def body(client: Client, _: Address) -> Body:
        return Undelegate(validator=await validator_operator(client, validator), amount=amount)

    send(body, f"unbonding {tokens(amount)} from {validator}", options)


@click.command()
@click.argument("validator", metavar="OPERATOR|NAME", required=False)
@click.option("--commission", is_flag=True, help="Withdraw the commission of the own validator instead.")
@acting_options
def rewards(validator: str | None, commission: bool, **options: Any) -> None:
    """Withdraw what a delegation to a validator has earned; `plait account` shows how much that is."""
    if commission:
        send(WithdrawCommission(), "withdrew the commission", options)
        return
    if validator is None:
        raise click.UsageError("Name the validator whose rewards to withdraw, or --commission.")

    async def body(client: Client, _: Address) -> Body:
        return WithdrawRewards(validator=await validator_operator(client, validator))

    send(body, f"withdrew the rewards from {validator}", options)


commands = {
    "account": account,
    "transfer": transfer,
    "delegate": delegate,
    "undelegate": undelegate,
    "rewards": rewards,
}
