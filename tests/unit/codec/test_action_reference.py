"""The table of actions in docs/protocol.md is the one that the code uses."""

from pathlib import Path

from plait.types.action import ACTION_TABLE, STRUCT_TYPES, Field

PROTOCOL = Path(__file__).resolve().parents[3] / "docs/protocol.md"
UNITS = {"string": " bytes", "bytes": " bytes"}


def shown(field: Field) -> str:
    """A field with its bounds where they are narrower than the type's own."""
    bounds = ""
    if field.type.startswith("uint") and (field.low or field.bound != 2 ** int(field.type[4:]) - 1):
        widest = field.bound == 2 ** int(field.type[4:]) - 1
        bounds = f" (from {field.low:,})" if widest else f" ({field.low:,} to {field.bound:,})"
    elif field.type in UNITS or field.type.endswith("[]"):
        unit = UNITS.get(field.type, "")
        bounds = f" ({field.low:,} to {field.bound:,}{unit})" if field.low != field.bound else f" ({field.low}{unit})"
    return f"{field.type} {field.wire_name}{bounds}"


def reference() -> str:
    """The rows of the documented table."""
    lines = ["| kind | name | fields |", "|---|---|---|"]
    for entry in ACTION_TABLE.values():
        fields = ", ".join(map(shown, entry.fields)) or "none"
        lines.append(f"| {int(entry.kind)} | `{entry.name}` | {fields} |")
    lines += [f"| | `{one.name}` | {', '.join(map(shown, one.fields))} |" for one in STRUCT_TYPES.values()]
    return "\n".join(lines) + "\n"


def test_the_documented_actions_are_those_of_the_table() -> None:
    written = PROTOCOL.read_text().split("<!-- actions -->\n")[1].split("<!-- /actions -->")[0]
    assert written == reference(), f"put this between the markers of docs/protocol.md:\n{reference()}"
