-- What stands next of each customer's parked orders: one row an order, and one with NULLs where there is none.
--
-- $1 ordering  $2 customers  $3 limit
SELECT n.number, coalesce(CASE WHEN $1::text = 'gapless' THEN c.last_position::numeric ELSE c.mark END, 0)::text,
       coalesce(c.parked, 0), p.ord::text, p.order_id, p.digest, p.malformed, p.body
FROM ROWS FROM (unnest($2::text[]), generate_series(1, cardinality($2::text[]))) AS n (customer_id, number)
LEFT JOIN LATERAL (
    SELECT c.customer_id, c.last_position, c.mark, c.parked, c.blocked_by FROM customers c
    WHERE c.customer_id = n.customer_id OFFSET 0
) c ON true
LEFT JOIN LATERAL (
    SELECT x.* FROM (
        SELECT p.ord, p.order_id, p.digest, p.malformed, p.body, row_number() OVER (ORDER BY p.ord) AS step
        FROM parked_orders p
        WHERE p.customer_id = c.customer_id AND c.blocked_by IS NULL
          AND p.ord > CASE WHEN $1::text = 'gapless' THEN c.last_position ELSE -1 END
        ORDER BY p.ord LIMIT $3::bigint) x
    WHERE $1::text <> 'gapless' OR x.ord = c.last_position + x.step
) p ON true
ORDER BY n.number, p.ord
