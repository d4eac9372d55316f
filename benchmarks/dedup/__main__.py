"""Everything that is claimed of the ids of texts, measured by one command.

python -m benchmarks.dedup                    all parts
python -m benchmarks.dedup accuracy pairs     some: accuracy, pairs, recurring, speed, adversarial
python -m benchmarks.dedup --loghub FOLDER    where the labelled sets are (default ../shared/data/loghub)
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import dedup_speed
from benchmarks.dedup import accuracy

LOGHUB = Path(__file__).parents[3] / "shared" / "data" / "loghub"


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--loghub", type=Path, default=LOGHUB, metavar="FOLDER")
    given = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "accuracy": lambda: accuracy.labelled(given.loghub),
        "pairs": accuracy.pairs,
        "recurring": accuracy.recurring,
        "speed": dedup_speed.rates,
        "adversarial": dedup_speed.adversarial,
    }
    unknown = set(given.parts) - set(parts)
    if unknown:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    for name in given.parts or parts:
        parts[name]()


if __name__ == "__main__":
    main()
