"""PostgreSQL, the single source of truth: tables, views, statements, migrations, locks."""
