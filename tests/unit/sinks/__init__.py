"""Tests of `etl.sinks`."""
