"""Tests of etl.stages."""
