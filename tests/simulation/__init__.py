"""A randomized test of the mirror: a simulated GitHub lives and breaks, runs are stopped, the end must be the truth.

python -m tests.simulation --seeds 200
"""

SEEDS, FIRST_SEED = "ISSUETIDE_SIMULATION_SEEDS", "ISSUETIDE_SIMULATION_FIRST_SEED"
"""What the command sets for the test it runs."""
