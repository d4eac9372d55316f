"""`python -m tests.simulation`: the randomized test with as many seeds as wanted."""

import argparse
import os
import sys
from pathlib import Path

import pytest

from tests.simulation import FIRST_SEED, SEEDS


def main() -> int:
    """Runs the seeds; the exit code is pytest's."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    options, rest = parser.parse_known_args()
    os.environ[SEEDS], os.environ[FIRST_SEED] = str(options.seeds), str(options.first)
    return pytest.main([str(Path(__file__).with_name("test_simulation.py")), "-q", "--no-header", *rest])


if __name__ == "__main__":
    sys.exit(main())
