"""Places that documents are written to. Each implements `base.Sink` and is named in `SINKS`."""

SINKS = {
    "opensearch": "etl.sinks.opensearch:OpenSearchSink",
    "jsonl": "etl.sinks.jsonl:JsonlSink",
}
"""Name of a sink -> where its class is; resolved only when a run uses it."""
