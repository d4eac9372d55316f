\set QUIET on
\pset tuples_only on
\pset format unaligned
SELECT coalesce('no run has ended well since ' || to_char(max(ended_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC',
                'no run has ever ended well') AS alert
FROM run_summary
WHERE status IN ('ok', 'partial') AND (command LIKE 'issuetide run%' OR command LIKE 'issuetide fetch%')
      AND command NOT LIKE '%--skip-fetch%'
HAVING max(ended_at) IS NULL OR max(ended_at) < now() - interval '3 hours';
