"""Unit tests, a file per module of etl."""
