"""Unit tests of the local servers."""
