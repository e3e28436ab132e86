"""`plait stake`: PLAIT between L1 and the ledger, through StakeVault."""

import asyncio
from typing import Any

import click

from plait.cli.acting import AMOUNT, account_address, tokens
from plait.cli.keys import keys_dir_option, keys_directory, read_key
from plait.cli.l1 import contract_address, l1_option
from plait.cli.output import json_option, out, print_json, url_option
from plait.client import Client
from plait.client.staking import claim as claim_on_l1
from plait.client.staking import deposit as deposit_on_l1
from plait.client.staking import withdraw as withdraw_to_l1
from plait.l1.client import L1Client
from plait.types import Amount

vault_option = click.option("--vault", required=True, metavar="ADDRESS", help="StakeVault on L1.")
from_option = click.option(
    "--from", "key_name", required=True, metavar="NAME", help="Key that signs; see `plait keys`."
)


@click.group()
def stake() -> None:
    """PLAIT between L1 and the ledger.

    \b
      plait stake deposit 100 --from me ...           locks it on L1; the ledger credits it once that is final
      plait stake withdraw 40 --to 0x... --from me ... moves it out of the ledger and requests it on L1
      plait stake claim 3 --from me ...               pays withdrawal 3 when its time is over
    """


@stake.command()
@click.argument("amount", type=AMOUNT)
@click.option("--account", metavar="ADDRESS|NAME", help="Account of the ledger; the key's own without it.")
@from_option
@vault_option
@l1_option
@keys_dir_option
@json_option
def deposit(amount: Amount, account: str | None, vault: str, l1_url: str, **options: Any) -> None:
    """Lock AMOUNT of PLAIT on L1 for an account of the ledger."""
    key = read_key(keys_directory(options["keys_dir"]), options["key_name"])
    to = account_address(account or options["key_name"], options["keys_dir"])

    async def work() -> str:
        async with L1Client(l1_url) as chain:
            return "0x" + (await deposit_on_l1(chain, key, contract_address(vault), to, amount)).hex()

    sent = asyncio.run(work())
    if options["as_json"]:
        print_json({"transaction": sent, "account": "0x" + to.hex()})
    else:
        sentence = (
            f"locked {tokens(amount)} for 0x{to.hex()} in {sent}; the ledger credits it once its L1 block is final"
        )
        out.print(sentence, markup=False)


@stake.command()
@click.argument("amount", type=AMOUNT)
@click.option("--to", "recipient", required=True, metavar="ADDRESS", help="Account on L1 that gets it.")
@click.option("--wait", "wait_s", type=float, default=7_200.0, show_default=True,
              help="Seconds to wait for a checkpoint.")  # fmt: skip
@from_option
@vault_option
@l1_option
@url_option
@keys_dir_option
@json_option
def withdraw(amount: Amount, recipient: str, wait_s: float, **options: Any) -> None:
    """Move AMOUNT of PLAIT out of the ledger and request it on L1; 0 requests what was moved out before."""
    key = read_key(keys_directory(options["keys_dir"]), options["key_name"])

    async def work() -> dict[str, Any]:
        async with Client(options["url"]) as client, L1Client(options["l1_url"]) as chain:
            done = await withdraw_to_l1(
                client,
                chain,
                ledger_key=key,
                wallet_key=key,
                vault=contract_address(options["vault"]),
                recipient=contract_address(recipient),
                amount=amount,
                wait_s=wait_s,
            )
        return {
            "withdrawal": done.withdrawal.number,
            "amount": hex(done.withdrawal.amount),
            "readyAfter": int(done.withdrawal.ready_at),
            "exitAccount": "0x" + done.exit_account.hex(),
        }

    found = asyncio.run(work())
    if options["as_json"]:
        print_json(found)
    else:
        out.print(
            f"withdrawal {found['withdrawal']} of {tokens(found['amount'])} waits; claim it after "
            f"{found['readyAfter']} (Unix seconds)",
            markup=False,
        )


@stake.command()
@click.argument("number", type=click.IntRange(1))
@from_option
@vault_option
@l1_option
@keys_dir_option
@json_option
def claim(number: int, vault: str, l1_url: str, **options: Any) -> None:
    """Pay withdrawal NUMBER to its recipient; anybody may once its time is over."""
    key = read_key(keys_directory(options["keys_dir"]), options["key_name"])

    async def work() -> str:
        async with L1Client(l1_url) as chain:
            return "0x" + (await claim_on_l1(chain, key, contract_address(vault), number)).hex()

    sent = asyncio.run(work())
    if options["as_json"]:
        print_json({"transaction": sent})
    else:
        out.print(f"withdrawal {number} is paid, in {sent}", markup=False)


commands = {"stake": stake}
