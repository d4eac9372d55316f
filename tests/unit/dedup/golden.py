"""The golden file: texts with the ids they have since a version of the rules. Written by a person, never by a test.

python -m tests.unit.dedup.golden          # after RULES_VERSION was raised: writes the ids anew
python -m tests.unit.dedup.golden --check  # prints one digest over all ids, to compare interpreters by hand
"""

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from etl.dedup import RULES_VERSION, fingerprint

GOLDEN = Path(__file__).with_name("golden.jsonl")


def stored() -> list[dict[str, str]]:
    """The rows of the golden file: text, text_hash, family_hash."""
    return [json.loads(line) for line in GOLDEN.read_text("ascii").splitlines()]


def computed(texts: Iterator[str]) -> Iterator[dict[str, str]]:
    """The same rows with the ids of today."""
    for text in texts:
        ids = fingerprint(text)
        yield {"text": text, "text_hash": ids.text_hash, "family_hash": ids.family_hash}


def digest() -> str:
    """One digest over today's ids of every stored text."""
    rows = computed(row["text"] for row in stored())
    return sha256("".join(row["text_hash"] + row["family_hash"] for row in rows).encode()).hexdigest()


def main(arguments: list[str]) -> None:
    """Write the file anew where the version was raised, or print the digest."""
    if "--check" in arguments:
        sys.stdout.write(digest() + "\n")
        return
    rows = stored()
    if rows[0]["text_hash"].startswith(f"{RULES_VERSION}:") and rows != list(computed(row["text"] for row in rows)):
        sys.exit("ids moved: raise RULES_VERSION in etl/dedup/rules.py first, then run this again")
    lines = (json.dumps(row) + "\n" for row in computed(row["text"] for row in rows))
    GOLDEN.write_text("".join(lines), "ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
