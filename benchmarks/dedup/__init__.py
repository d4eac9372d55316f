"""What the ids of texts promise, measured: `python -m benchmarks.dedup`."""
