\set QUIET on
\pset tuples_only on
\pset format unaligned
SELECT format('OpenSearch refuses %s documents (as of run %s)', documents_refused, run_id) AS alert
FROM (SELECT run_id, documents_refused FROM run_summary
      WHERE documents_refused IS NOT NULL ORDER BY ended_at DESC, run_id DESC LIMIT 1) AS newest
WHERE documents_refused > 0;
