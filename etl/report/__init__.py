"""Reports for those without Dashboards: on the terminal, as one HTML page, as JSON and as CSV."""
