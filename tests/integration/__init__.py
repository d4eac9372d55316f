"""Tests against a real PostgreSQL and OpenSearch."""
