"""Whatever happens to GitHub, to the network and to the runs: after a quiet run PostgreSQL equals the truth.

`python -m tests.simulation --seeds 200` takes more seeds than the suite does.
"""

import os

import pytest

from tests.simulation import FIRST_SEED, SEEDS
from tests.simulation.living import Simulation

_first = int(os.environ.get(FIRST_SEED, "1"))
_count = int(os.environ.get(SEEDS, "20"))


@pytest.mark.parametrize("seed", range(_first, _first + _count))
def test_a_mirror_whose_runs_were_stopped_anywhere_ends_as_the_truth(seed: int, database_url: str) -> None:
    simulation = Simulation(seed, database_url)
    found = simulation.differences()
    assert not found, "\n".join([*simulation.log, *found])
