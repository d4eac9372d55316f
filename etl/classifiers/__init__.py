"""What answers a task's question about a text. Each implements `base.Classifier` and is named in `CLASSIFIERS`."""

CLASSIFIERS = {
    "claude": "etl.classifiers.claude:ClaudeClassifier",
    "local": "etl.classifiers.local:LocalClassifier",
    "rules": "etl.classifiers.rules:RulesClassifier",
}
"""Name of a classifier -> where its class is; resolved only when a run uses it (importing anthropic takes a second)."""

BATCH_CLASSIFIERS = {"claude": "etl.classifiers.claude_batches:ClaudeBatches"}
"""Likewise, those that can also be asked in batches; each implements `base.BatchClassifier`."""
