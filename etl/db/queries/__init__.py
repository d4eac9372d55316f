"""Every statement of the pipeline, one function each, a module per subject. Callers own the transaction."""
