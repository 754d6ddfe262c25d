"""Tables of benchmarks, and the command, machine and versions they were made with."""

from __future__ import annotations

import argparse
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

import torch

import sinwave

__all__ = ["deliver", "provenance", "share_options", "table"]


def share_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all benchmarks share."""
    add, work = parser.add_argument, Path("build/closed-form")
    add("--threads", type=int, default=torch.get_num_threads(), metavar="N", help="per process; all")
    add("--seed", type=int, default=0, metavar="N", help="of all samples; 0")
    add("--work", type=Path, default=work, metavar="FOLDER", help=f"samples and records; {work}")
    add("--output", type=Path, metavar="FILE", help="of the tables; standard output")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def provenance(script: str, *, threads: int, seed: int) -> str:
    """Describe command, machine, versions and date."""
    command = shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]])
    software = f"sinwave {sinwave.__version__}, commit {_commit()}, torch {torch.__version__}"
    hardware = f"{threads} threads of {_processor()}, {platform.system()}"
    return f"`{command}`, seed {seed}; {hardware}; {software}; {time.strftime('%Y-%m-%d')}\n"


def _commit() -> str:
    def git(*command: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def deliver(parts: Iterable[str], file: Path | None) -> None:
    """Write the parts of a report, or print them."""
    report = "\n".join(parts)
    if file:
        file.write_text(report, encoding="utf-8")
    else:
        print(report, end="")


def peak_memory_mb() -> float | None:
    """Peak memory of this process, None where the system does not tell it."""
    status = Path("/proc/self/status")
    # On Linux ru_maxrss includes the parent's, so it is only the second choice.
    if status.exists():
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if lines:
            return int(lines[0].split()[1]) / 1024
    try:
        resource = import_module("resource")
    except ImportError:
        return None
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
