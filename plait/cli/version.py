"""`plait version`: Plait and what it runs on."""

import platform
from importlib import metadata

import click

from plait import __version__
from plait.cli.output import json_option, out, print_json


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Show versions of Plait, Python and the libraries that matter in a bug report."""
    libraries = {name: metadata.version(name) for name in ("aiohttp", "msgspec", "uvloop")}
    if as_json:
        print_json({"plait": __version__, "python": platform.python_version(), "libraries": libraries})
        return
    out.print(f"plait {__version__}")
    out.print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, number in libraries.items():
        out.print(f"{name} {number}")


commands = {"version": version}
