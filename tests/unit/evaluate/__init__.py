"""Tests of measured quality."""
