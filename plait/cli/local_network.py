"""What `plait testnet` and `plait opstack` share: a network runs in one terminal until it is asked to stop, and is told
what to do from another, by the control socket of its data directory (testnet/control.py)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from plait.cli.output import fail, json_option, out, print_json

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Remote:
    """The commands of one group that speak to the network that runs in a data directory.

    Args:
        group: of commands; its name is what starts the network too.
        started_by: command that starts it, for people.
        member: what one part of the network is called in usage lines.
        member_key: what the control socket calls it.
        data_dir: where the network is kept when no directory is named.
    """

    def __init__(self, group: click.Group, *, started_by: str, member: str, member_key: str, data_dir: Path) -> None:
        self._group = group
        self._started_by = started_by
        self._member = member
        self._member_key = member_key
        self._options = (data_dir_option(data_dir), json_option)

    def ask(self, data_dir: Path, command: str, arguments: dict[str, Any], *, as_json: bool) -> Any:
        """The network's answer; ends the process with a sentence when there is none."""
        from plait.testnet.control import ask

        try:
            return asyncio.run(ask(data_dir, command, arguments, started_by=self._started_by))
        except Exception as error:
            fail(error, as_json=as_json)

    def tell(self, data_dir: Path, command: str, sentence: str, *, as_json: bool, **arguments: Any) -> None:
        """Asks, and says that it is done; arguments that are None are left to the network."""
        given = {name: value for name, value in arguments.items() if value is not None}
        answer = self.ask(data_dir, command, given, as_json=as_json)
        if as_json:
            print_json({"done": command, "answer": answer, **given})
        else:
            out.print(sentence)

    def command(
        self,
        name: str,
        help_: str,
        done: str,
        *,
        group: click.Group | None = None,
        of_all: str | None = None,
        options: tuple[Callable[[Any], Any], ...] = (),
    ) -> None:
        """Adds a command that tells the network something about one member.

        Args:
            name: of the command, here and on the control socket.
            help_: its sentence in `--help`.
            done: what is said afterwards; `{}` becomes the member.
            group: it belongs to; None for the network's own.
            of_all: what is said when no member is named, which then means all of them (`NAME_all` on the socket); None
                when one must be named.
            options: further ones, passed on by their names.
        """

        def run(data_dir: Path, as_json: bool, **arguments: Any) -> None:
            member = arguments.pop(self._member)
            if member is None and of_all is not None:
                self.tell(data_dir, f"{name}_all", of_all, as_json=as_json, **arguments)
            else:
                arguments = {self._member_key: member, **arguments}
                self.tell(data_dir, name, done.format(member), as_json=as_json, **arguments)

        callback: Any = run
        for option in reversed((click.argument(self._member, required=of_all is None), *options, *self._options)):
            callback = option(callback)
        (group or self._group).command(name, help=help_)(callback)


def data_dir_option(default: Path) -> Callable[[Any], Any]:
    """`--data-dir` of a local network."""
    return click.option(
        "--data-dir", type=click.Path(file_okay=False, path_type=Path), default=default, show_default=True,
        help="Where the network is kept.",
    )  # fmt: skip


@contextlib.contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Set by the first Ctrl-C or SIGTERM, or when the terminal closes; the second Ctrl-C ends the process at once, and
    with it the network's processes."""
    import os

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set() and number != signal.SIGHUP:
            os._exit(128 + number)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, asked, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
