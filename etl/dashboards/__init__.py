"""The dashboards as code: built, checked, turned into searches, and imported into OpenSearch Dashboards.

`build` writes the shipped file, `saved_objects` reads and checks such files, `search` tells a panel as a search, and
`importing` brings them into a Dashboards.
"""
