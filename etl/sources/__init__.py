"""Places that items are read from. Each implements `base.Source` and is named in `SOURCES`."""

SOURCES = {
    "github_issues": "etl.sources.github_issues:GitHubIssues",
    "files": "etl.sources.files:Files",
}
"""Name of a source -> where its class is; resolved only when a run uses it, so an unused library is never imported."""
