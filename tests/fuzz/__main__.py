"""Run the cases, print the counts by reader and write them to results/fuzz.json; exit 1 if a case failed."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mdckit import files
from tests import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one alone and show what it raised; its files stay")
    parser.add_argument("--output", type=Path, default=Path("results/fuzz.json"))
    options = parser.parse_args()
    if options.case is not None:
        folder = tempfile.mkdtemp(prefix="fuzz")
        command = [sys.executable, "-B", "-m", "tests.fuzz.worker", folder, str(options.seed), str(options.case)]
        print(f"in {folder}/case:", flush=True)
        return subprocess.run(command, check=False, timeout=fuzz.START).returncode

    def tell(case: dict) -> None:
        again = f"python -m tests.fuzz --seed {options.seed} --case {case['number']}"
        print(f"FAILED {json.dumps(case)}\nagain: {again}\n", flush=True)

    found = fuzz.run(options.cases, options.seed, tell=tell)
    files.save_json(options.output, found)
    print(table(found))
    return bool(found["failed"])


def table(found: dict) -> str:
    """The counts by reader."""
    head = f"{'reader':20} {'cases':>6} {'read':>6} {'refused':>8} {'slowest':>9} {'most memory':>12}"
    lines = [
        f"{name:20} {row['cases']:6} {row['read']:6} {row['refused']:8} {row['seconds']:7.2f} s {row['memory']:9} MB"
        for name, row in found["readers"].items()
    ]
    total = f"{'all':20} {found['cases']:6} {found['read']:6} {found['refused']:8}   failed {len(found['failed'])}"
    return "\n".join([head, *lines, total])


if __name__ == "__main__":
    sys.exit(main())
