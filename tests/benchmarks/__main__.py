"""`make bench`: every benchmark in turn, in processes of their own, and then one table of what they
said.

python -m tests.benchmarks [pass wide train ingest tokens browse page labels typed memory steer
peer]

All parts together take about half an hour on two free cores, most of it memory (10 M tokens) and
peer (its installation).
"""

import argparse
import os
import platform
import subprocess
import sys

MEASURED = {
    "pass": [
        ["bench_dashboards", "--tokens", "100000", "--architecture", "topk"],
        ["bench_dashboards", "--tokens", "100000", "--architecture", "standard"],
    ],
    "wide": [["bench_wide"]],
    "train": [["bench_train"]],
    "ingest": [["bench_ingest"]],
    "tokens": [["bench_tokens"]],
    "browse": [["bench_browse"]],
    "page": [["bench_feature_page"]],
    "labels": [["bench_label_search"]],
    "typed": [["bench_typed"]],
    "memory": [["bench_memory"]],
    "steer": [["bench_steer"], ["bench_first_token"]],
    "peer": [["bench_peer"]],
}


def main() -> int:
    """Run what was asked for; the exit code is 1 where a benchmark broke, not where it was slow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"all, or some of: {', '.join(MEASURED)}"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(MEASURED):
        parser.error(
            f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(MEASURED)}"
        )
    told, broken = [], 0
    for name in options.parts or MEASURED:
        for command in MEASURED[name]:
            print(f"{' '.join(command)} …", flush=True)
            told.append(f"[{name}]{load()}")
            done = subprocess.run(
                [sys.executable, "-m", f"tests.benchmarks.{command[0]}", *command[1:]], **QUIET
            )
            broken |= done.returncode
            told += (
                done.stdout.splitlines() if not done.returncode else [done.stderr.strip()[-2000:]]
            )
    print(
        f"\nMeasured on {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}:\n"
    )
    print("\n".join(told))
    return int(bool(broken))


QUIET = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def load() -> str:
    """How busy the machine was before, in processes that wanted a core in the last minute."""
    return f" load before: {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
