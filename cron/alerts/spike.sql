\set QUIET on
\pset tuples_only on
\pset format unaligned
WITH counted AS (
    SELECT c.task, coalesce(c.category, 'abstained') AS category,
           count(*) FILTER (WHERE i.created_at >= now() - interval '1 day') AS last_day,
           count(*) FILTER (WHERE i.created_at < now() - interval '1 day') / 7.0 AS usual
    FROM issue_categories c JOIN issues i USING (repository, number)
    WHERE i.created_at >= now() - interval '8 days'
    GROUP BY c.task, coalesce(c.category, 'abstained'))
SELECT format('%s: %s issues of %s in a day, usually %s', task, last_day, category, round(usual, 1)) AS alert
FROM counted WHERE last_day >= 10 AND last_day > 3 * usual
ORDER BY last_day DESC, task, category;
