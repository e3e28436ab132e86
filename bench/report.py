"""What a benchmark reports: figures with units, ratios with their target, the machine, as JSON and as a table.

A result is `{"question", "figures": {name: {"value", "unit"}}, "ratios": {name: {"value", "target", "met"}}, "notes",
"machine"}`. A ratio that falls short is reported as it is; nothing here fails a run.
"""

import json
import os
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

OUT = Path(__file__).resolve().parent / "out"


@dataclass
class Result:
    """Figures of one question."""

    question: str
    figures: dict[str, dict[str, object]] = field(default_factory=dict)
    ratios: dict[str, dict[str, object]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def figure(self, name: str, value: float, unit: str) -> None:
        self.figures[name] = {"value": round(value, 4 if abs(value) < 10 else 1), "unit": unit}

    def ratio(self, name: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        target = f">= {at_least}" if at_least is not None else f"<= {at_most}" if at_most is not None else None
        self.ratios[name] = {"value": round(value, 3), "target": target, "met": met if target else None}

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def write(self) -> Path:
        """Writes `bench/out/<question>.json`."""
        OUT.mkdir(exist_ok=True)
        path = OUT / f"{self.question}.json"
        path.write_text(json.dumps({**self.__dict__, "machine": machine(), "time": int(time.time())}, indent=2) + "\n")
        return path

    def print(self) -> None:
        """The table a person reads."""
        print(f"\n{self.question}")
        for name, figure in self.figures.items():
            print(f"  {name:<58} {figure['value']:>14,} {figure['unit']}")
        for name, ratio in self.ratios.items():
            target = f"  target {ratio['target']}" if ratio["target"] else ""
            verdict = "" if ratio["met"] is None else ("  reached" if ratio["met"] else "  NOT reached")
            print(f"  {name:<58} {ratio['value']:>14,} x{target}{verdict}")
        for note in self.notes:
            print(f"  - {note}")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def median(values: list[float]) -> float:
    return statistics.median(values)


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
