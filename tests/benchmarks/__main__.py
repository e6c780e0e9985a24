"""How fast mdckit is: every row the ratio of two sides, run in turn in one process.

    python -m tests.benchmarks
    python -m tests.benchmarks --only demo decoding --repeats 9

Prints a table and writes it with all numbers to results/bench.json.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from mdckit import files
from mdckit.machine import pick_device, versions
from tests.benchmarks import condensing, evaluating, exploring, stopping

ROWS: dict[str, Callable] = {
    "paper": partial(condensing.inner_iteration, "paper", 1.3),
    "demo": partial(condensing.inner_iteration, "demo", 1.5),
    "paper_compiled": partial(condensing.inner_iteration, "paper", 2, compile=True),
    "demo_compiled": partial(condensing.inner_iteration, "demo", 2.5, compile=True),
    "paper_bfloat16": partial(condensing.inner_iteration, "paper", 3, precision="bfloat16"),
    "side_by_side": condensing.side_by_side,
    "classes": condensing.many_classes,
    "prefixes": evaluating.prefixes,
    "decoding": evaluating.decoding,
    "stop_demo": partial(stopping.stop, "demo"),
    "stop_paper": partial(stopping.stop, "paper"),
    "explorer": partial(exploring.key_press, 10),
    "explorer_100": partial(exploring.key_press, 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="which rows (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each side")
    parser.add_argument("--device", help="cpu or cuda (default: what there is)")
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be 1 or more")
    device = pick_device(options.device)
    machine = versions() | {"device": str(device), "threads": torch.get_num_threads()}
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"median of {options.repeats} ratios (smallest to largest), median seconds and peak memory of each side\n")

    rows = {}
    for name in options.only:
        row = ROWS[name](options.repeats, device)
        rows[name] = row.record()
        print(row, *describe(row.more), sep="\n    ", flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(options.output, json.dumps({"machine": machine, "rows": rows}, indent=1).encode())


def describe(more: dict) -> list[str]:
    lines = [f"{name}: {part['ratio']:.2f}" for name, part in more.items() if "ratio" in part]
    if "reached" in more:
        for unit, what in (("gflops", "GFLOP/s"), ("gbytes", "GB/s")):
            reached, best = more["reached"][unit], more["ceilings"][unit]
            lines.append(f"{reached:.0f} of the machine's {best:.0f} {what} ({reached / best:.0%})")
        lines.append("time: " + ", ".join(f"{kind} {share:.0%}" for kind, share in more["shares"].items()))
    return lines


if __name__ == "__main__":
    main()
