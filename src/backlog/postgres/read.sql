-- Walks over the names, one probe of the index each, and takes a share of every line.
--
-- $1 after this name ('': from the beginning), $2 floors: {customer: [rank, row]}, $3 the most customers,
-- $4 the share, $5 the most rows, $6 the most bytes of bodies after the first row. OFFSET 0: each probe is made once,
-- and not once for each use of its answer.
WITH RECURSIVE floors AS MATERIALIZED (SELECT $2::jsonb AS floors),
walk (n, name, ended, found, taken, rows) AS (
    SELECT 0, $1 COLLATE "C", false, 0::bigint, 0::bigint, ARRAY[]::bigint[]
    UNION ALL
    -- A customer whose rows are all in memory does not count: the names behind it are to be found.
    SELECT w.n + 1, c.name, c.name = '', w.found + (cardinality(r.rows) > 0)::integer,
           w.taken + cardinality(r.rows), r.rows
    FROM walk w
    -- Behind the last name comes nobody.
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT o.customer_id FROM backlog_orders o WHERE o.customer_id > w.name
                         ORDER BY o.customer_id, o.ord, o.row LIMIT 1), '') AS name
        OFFSET 0
    ) c
    CROSS JOIN LATERAL (SELECT (SELECT f.floors FROM floors f) -> c.name AS pair OFFSET 0) f
    CROSS JOIN LATERAL (
        SELECT ARRAY(SELECT o.row FROM backlog_orders o
                     WHERE o.customer_id = c.name
                       AND (o.ord, o.row) > (coalesce((f.pair ->> 0)::numeric, -1), coalesce((f.pair ->> 1)::bigint, 0))
                     ORDER BY o.customer_id, o.ord, o.row LIMIT least($4, $5 - w.taken)) AS rows
        OFFSET 0
    ) r
    WHERE NOT w.ended AND w.found < $3 AND w.taken < $5
)
SELECT b.row, b.customer_id, b.ord, b.malformed, b.message_id, b.body, b.sent_at_ms
FROM (
    SELECT o.row, o.customer_id, o.ord::text AS ord, o.malformed IS NOT NULL AS malformed, o.message_id, o.body,
           o.sent_at_ms, row_number() OVER (ORDER BY w.n, u.n) AS number,
           sum(octet_length(o.body)) OVER (ORDER BY w.n, u.n) AS bytes
    FROM walk w
    CROSS JOIN LATERAL unnest(w.rows) WITH ORDINALITY AS u (row, n)
    CROSS JOIN LATERAL (SELECT b.* FROM backlog_orders b WHERE b.row = u.row OFFSET 0) o
) b
WHERE b.bytes <= $6 OR b.number = 1
ORDER BY b.number
