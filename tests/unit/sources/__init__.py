"""Tests of `etl.sources`."""
