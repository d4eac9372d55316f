"""Tests of etl.db."""
