"""The chart of docs/performance.md: bundles per second over the number of rollups, measured here and modelled.

`python -m bench.chart` reads `bench/out/bundles.json` of the last run (`python -m bench bundles`), computes the model
of `bench.lock_model`, and writes `docs/bundles.svg`. Both axes are logarithmic. Points are measured; lines without
points are the model.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench import lock_model
from bench.bundles import ROLLUPS, rate_name
from bench.report import OUT

TARGET = Path(__file__).resolve().parent.parent / "docs" / "bundles.svg"
CHAINS = (2, 4, 8, 16, 32, 64)
WIDTH, HEIGHT = 820, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 60, 60
DECADES = (0, 4)
"""Powers of ten of the vertical axis."""
OURS = "#0b5fa5"
Points = Sequence[tuple[int, float]]


def across(chains: int) -> float:
    """Horizontal position of a number of rollups."""
    share = math.log2(chains / CHAINS[0]) / math.log2(CHAINS[-1] / CHAINS[0])
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def up(rate: float) -> float:
    """Vertical position of a rate."""
    share = (math.log10(rate) - DECADES[0]) / (DECADES[1] - DECADES[0])
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def text(x: float, y: float, content: str, *, anchor: str = "start", color: str = "#333", size: int = 12) -> str:
    """One line of text."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{color}" font-size="{size}">{escape(content)}</text>'


def series(points: Points, label: str, color: str, *, measured: bool = False, dashes: str = "") -> list[str]:
    """A line, its points when they are measured, and its name at its end."""
    path = " ".join(f"{across(chains):.1f},{up(rate):.1f}" for chains, rate in points)
    style = f' stroke-dasharray="{dashes}"' if dashes else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{style}/>']
    if measured:
        parts += [
            f'<circle cx="{across(chains):.1f}" cy="{up(rate):.1f}" r="4" fill="{color}"/>' for chains, rate in points
        ]
    chains, rate = points[-1]
    parts.append(text(across(chains) + 10, up(rate) + 4, f"{label}: {rate:,.0f}/s", color=color))
    return parts


def axes() -> list[str]:
    """Grid, ticks and names."""
    parts = []
    for decade in range(DECADES[0], DECADES[1] + 1):
        y = up(10**decade)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{10**decade:,}", anchor="end"))
    parts += [text(across(chains), HEIGHT - BOTTOM + 20, str(chains), anchor="middle") for chains in CHAINS]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, "rollups", anchor="middle"))
    return parts


def modelled(service_s: float, chains: Sequence[int] = CHAINS, **options: Any) -> Points:
    """A line of the model."""
    return [(count, lock_model.bundles_per_second(count, service_s, **options)) for count in chains]


def drawing(result: dict[str, Any]) -> str:
    """The chart as SVG.

    Args:
        result: of the question `bundles`, as its JSON.
    """
    figures, cores = result["figures"], result["machine"]["cores"]
    ours = [(rollups, figures[rate_name(rollups)]["value"]) for rollups in ROLLUPS]
    hot = figures["all on one storage slot"]["value"]
    legend = f"points: measured, a node on {cores} cores; lines without points: a model of whole-chain locks"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 24, "Two-leg bundles decided per second", size=15),
        text(LEFT, 42, legend, size=11),
        *axes(),
        *series(ours, "Plait, random pairs", OURS, measured=True),
        f'<circle cx="{LEFT}" cy="{up(hot):.1f}" r="4" fill="#fff" stroke="{OURS}" stroke-width="2"/>',
        text(LEFT + 10, up(hot) + 20, f"two rollups, all on one storage slot: {hot:,.0f}/s", color=OURS),
        *series(modelled(0.4), "locks, 0.4 s", "#b4540a"),
        *series(modelled(1.0), "locks, 1 s", "#b4540a", dashes="2 4"),
        *series(modelled(0.4, fifo=True), "locks, 0.4 s, FIFO", "#7a6a00", dashes="7 4"),
        *series(modelled(0.4, CHAINS[1:], hot_percent=50), "locks, 0.4 s, half on one chain", "#777"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Writes the chart of the last run."""
    TARGET.write_text(drawing(json.loads((OUT / "bundles.json").read_text())))
    print(f"written: {TARGET.relative_to(TARGET.parent.parent)}")


if __name__ == "__main__":
    main()
