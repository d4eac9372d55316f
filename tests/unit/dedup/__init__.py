"""Tests of the ids and of the text they are made of."""
