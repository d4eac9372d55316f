"""Issuetide: GitHub issues into PostgreSQL, classified once per distinct text, exported to OpenSearch."""
