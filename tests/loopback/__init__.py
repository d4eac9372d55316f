"""Loopback servers that behave as GitHub and Anthropic do; usable by hand."""
