-- Walks over the names, one probe of the index each, and takes a share of every line. Or of one customer's line alone.
--
-- $1 after this name ('': from the beginning), $2 floors: {customer: [rank, row]}, $3 the share, $4 the most rows,
-- $5 the most bytes of bodies after the first row, $6 this customer alone, or NULL.
--
-- Nothing is sorted and nothing fetched twice: a line comes out of its index in order, the names come as the recursion
-- finds them, and it goes on only for as long as rows are wanted. That rows keep this order on their way through is the
-- executor's habit and not the language's promise, so whoever reads looks whether they did. OFFSET 0: the probe is made
-- once, and not once for each use of its answer.
WITH RECURSIVE floors AS MATERIALIZED (SELECT $2::jsonb AS floors),
walk (name) AS (
    SELECT $1 COLLATE "C"
    UNION ALL
    SELECT (SELECT o.customer_id FROM backlog_orders o WHERE o.customer_id > w.name
            ORDER BY o.customer_id, o.ord, o.row LIMIT 1)
    FROM walk w
    WHERE w.name IS NOT NULL AND $6::text IS NULL
), rows AS (
    SELECT o.*
    FROM (
        -- The first name is the one behind which the walk begins; behind the last comes nobody.
        (SELECT coalesce(w.name, '') AS name FROM walk w OFFSET 1)
        UNION ALL
        SELECT $6 WHERE $6 IS NOT NULL
    ) n
    CROSS JOIN LATERAL (SELECT (SELECT f.floors FROM floors f) -> n.name AS floor OFFSET 0) f
    CROSS JOIN LATERAL (
        SELECT o.row, o.customer_id, o.ord::text AS ord, o.malformed IS NOT NULL AS malformed, o.message_id, o.body,
               o.sent_at_ms
        FROM backlog_orders o
        WHERE o.customer_id = n.name
          AND (o.ord, o.row) > (coalesce((f.floor ->> 0)::numeric, -1), coalesce((f.floor ->> 1)::bigint, 0))
        ORDER BY o.customer_id, o.ord, o.row LIMIT $3
    ) o
    LIMIT $4
)
SELECT b.row, b.customer_id, b.ord, b.malformed, b.message_id, b.body, b.sent_at_ms
FROM (
    SELECT r.*, row_number() OVER (ROWS UNBOUNDED PRECEDING) AS number,
           sum(octet_length(r.body)) OVER (ROWS UNBOUNDED PRECEDING) AS bytes
    FROM rows r
) b
WHERE b.bytes <= $5 OR b.number = 1
