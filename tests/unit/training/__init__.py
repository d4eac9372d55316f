"""Tests of `etl.training`."""
