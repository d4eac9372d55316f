\set QUIET on
\pset tuples_only on
\pset format unaligned
SELECT format('$%s spent %s (UTC), more than $%s', round(sum(r.cost_usd), 2), cap.period, cap.dollars) AS alert
FROM (VALUES ('today', date_trunc('day', now(), 'UTC'), 5), ('this month', date_trunc('month', now(), 'UTC'), 100))
     AS cap (period, since, dollars)
JOIN run_summary r ON r.started_at >= cap.since
GROUP BY cap.period, cap.dollars HAVING sum(r.cost_usd) > cap.dollars
ORDER BY cap.dollars;
