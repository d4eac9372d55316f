"""The stages of a run, one module each. Each asks the database what is left and may be killed at any line."""
