"""Entry point of `plait`: the group of commands, and errors that leave as one sentence with an exit code."""

import sys
from typing import Any

import click

from plait import __version__

EPILOG = """\b
Exit codes: 0 done · 1 the answer is no (not found, a difference) · 2 command line not understood
            3 no node answers or it refused · 4 configuration or data directory not usable
            5 broken invariant (a bug or a damaged disk) · 130 interrupted
"""

_COMMANDS = {
    "devnet": ("plait.cli.devnet", "Start a local network of rollups and keep it running."),
    "testnet": ("plait.cli.testnet", "Run a local network of validators, change it, break it."),
    "opstack": ("plait.cli.opstack", "Run real OP Stack rollups: L1, op-geth, op-node, and Plait as sequencer."),
    "init": ("plait.cli.init", "Create the home of a node: keys, settings, genesis."),
    "node": ("plait.cli.node", "Run a node of a network, its CometBFT included."),
    "keys": ("plait.cli.keys", "Create, import and list the keys of ledger accounts."),
    "account": ("plait.cli.stake", "Show an account of the ledger: balance, stake, rewards."),
    "transfer": ("plait.cli.stake", "Send PLAIT to an account."),
    "delegate": ("plait.cli.stake", "Bond PLAIT to a validator."),
    "undelegate": ("plait.cli.stake", "Begin to unbond PLAIT from a validator."),
    "rewards": ("plait.cli.stake", "Withdraw what a delegation, or the own validator, has earned."),
    "stake": ("plait.cli.l1_stake", "Bring PLAIT from L1 into the ledger, and out again."),
    "l1": ("plait.cli.l1", "Show and commit checkpoints of the network on L1."),
    "validator": ("plait.cli.validator", "Join the validators, see how they do, leave them."),
    "evidence": ("plait.cli.evidence", "Find and report validators that signed two proposals for one round."),
    "gov": ("plait.cli.gov", "Propose changes of the network and vote on them."),
    "rollup": ("plait.cli.rollup", "Register a rollup, change it, pay for it, take it out."),
    "status": ("plait.cli.inspect", "Show what a running node is doing."),
    "watch": ("plait.cli.watch", "Watch slots, sub-blocks and blocks live."),
    "block": ("plait.cli.inspect", "Show a rollup's block."),
    "tx": ("plait.cli.inspect", "Show a transaction and how far it has got."),
    "bundle": ("plait.cli.bundle", "Show a bundle: its legs, deliveries, and why it failed."),
    "verify": ("plait.cli.verify_stream", "Prove from one trusted block that a rollup's stream is complete."),
    "verify-log": ("plait.cli.verify", "Replay the decided log and compare every root."),
    "derive": ("plait.cli.derive", "Rebuild an OP Stack rollup from L1 alone."),
    "snapshot": ("plait.cli.snapshot", "List, check and write the snapshots that new nodes start from."),
    "genesis": ("plait.cli.genesis", "Write a rollup's genesis file for op-geth."),
    "version": ("plait.cli.version", "Show versions of Plait and what it runs on."),
}


class Commands(click.Group):
    """Loads a command's module when it is called: `plait --help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command, imported."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = __import__(entry[0], fromlist=["commands"])
        command = module.commands[cmd_name]
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Lists commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Names the commands there are when one is unknown."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]!r}; there are {', '.join(_COMMANDS)}.")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "-V", "--version", prog_name="plait", message="%(prog)s %(version)s")
def plait() -> None:
    """Plait, a shared sequencer for OP Stack rollups.

    \b
    First steps:
      plait devnet                      two rollups on http://127.0.0.1:8545/901 and /902
      plait watch                       in a second terminal: what it does, live
      plait tx 0x...                    how far a transaction has got
      plait bundle 0x...                how far a bundle has got, or why it failed
    """


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command line; ends the process with the exit code that `plait --help` lists."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return plait.main(args=arguments, prog_name="plait", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from error
    except (click.Abort, KeyboardInterrupt):
        from plait.cli.output import EXIT_INTERRUPTED

        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None
    except (SystemExit, click.exceptions.Exit):
        raise
    except Exception as error:
        from plait.cli.output import exit_code_of, fail, first_error

        reason = first_error(error)
        if exit_code_of(reason) == 1 and not hasattr(reason, "code"):
            raise
        fail(reason, as_json="--json" in arguments)


if __name__ == "__main__":
    main()
