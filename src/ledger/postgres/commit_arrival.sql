-- One group commit, `fifo` and `none`: the position is the next one that is free. Read commit_gapless.sql first.
--
-- What an order_id says is looked at before its rank: known orders are left out and named in the answer.
--
-- $1 gate states  $2 customers, sorted  $3 lowest rank of each run  $4 "fifo"  $18 "the runs were parked"
-- $19 the epoch that is drained, or NULL
-- orders: $5 run (from 1)  $6 rank  $7 order_id  $8 digest  $9 currency  $10 total_minor  $11 placed_at  $12 body
-- lines: $13 order (from 1)  $14 line_number  $15 sku  $16 quantity  $17 unit_price_minor
WITH mr_gate AS MATERIALIZED (
    SELECT epoch FROM gate
    WHERE id = 1 AND state = ANY ($1::text[]) AND epoch = coalesce($19::bigint, epoch)
      AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
    FOR SHARE
), mr_order AS MATERIALIZED (
    SELECT run, rank::numeric(39) AS rank, order_id, digest, currency, total_minor, placed_at, body, number
    FROM ROWS FROM (unnest($5::integer[]), unnest($6::text[]), unnest($7::text[]), unnest($8::bytea[]),
                    unnest($9::text[]), unnest($10::bigint[]), unnest($11::timestamptz[]), unnest($12::text[]),
                    generate_series(1, cardinality($5::integer[])))
         AS o (run, rank, order_id, digest, currency, total_minor, placed_at, body, number)
), mr_known AS MATERIALIZED (
    -- A NULL digest: a tombstone names the order, whatever its content.
    SELECT o.order_id, o.digest FROM orders o WHERE o.order_id = ANY ($7::text[])
    UNION ALL
    SELECT t.order_id, t.digest FROM tombstones t WHERE t.order_id = ANY ($7::text[]) AND t.order_id IS NOT NULL
), mr_fresh AS MATERIALIZED (
    SELECT o.run, o.rank, o.number,
           row_number() OVER (PARTITION BY o.run ORDER BY o.number) AS step
    FROM mr_order o
    WHERE NOT EXISTS (SELECT FROM mr_known k WHERE k.order_id = o.order_id)
), mr_run AS MATERIALIZED (
    SELECT r.customer_id, r.rank::numeric(39) AS first, r.run, coalesce(f.orders, 0) AS orders, f.low, f.high
    FROM ROWS FROM (unnest($2::text[]), unnest($3::text[]), generate_series(1, cardinality($2::text[])))
         AS r (customer_id, rank, run)
    LEFT JOIN (SELECT run, count(*) AS orders, min(rank) AS low, max(rank) AS high FROM mr_fresh GROUP BY run) f
        USING (run)
), mr_seen AS MATERIALIZED (
    -- As the snapshot shows it. `xmin` names the version of the row.
    SELECT c.customer_id, c.mark, c.parked, c.xmin AS version FROM customers c WHERE c.customer_id = ANY ($2::text[])
), mr_locked AS MATERIALIZED (
    SELECT l.customer_id, l.last_position, l.mark, l.parked, l.blocked_by, l.xmin AS version FROM customers l
    WHERE l.customer_id = ANY ($2::text[]) AND EXISTS (SELECT FROM mr_gate)
    ORDER BY l.customer_id
    FOR UPDATE OF l SKIP LOCKED
), mr_go AS MATERIALIZED (
    SELECT r.run, r.customer_id, r.orders, r.high, l.parked
    FROM mr_run r JOIN mr_locked l USING (customer_id) LEFT JOIN mr_seen s USING (customer_id)
    WHERE l.blocked_by IS NULL
      AND (NOT $4::boolean OR r.orders = 0
           OR (l.mark < r.low
               AND CASE WHEN $18::boolean
                   -- parked_orders is read from the snapshot, so it must be the one of the locked row.
                   -- So are tombstones: a live run has the name that was skipped a moment ago.
                   THEN s.version = l.version
                        AND (SELECT p.ord FROM parked_orders p
                             WHERE p.customer_id = r.customer_id AND p.ord < r.first LIMIT 1) IS NULL
                   ELSE l.parked = 0 AND s.version = l.version
                   END))
), mr_copy AS MATERIALIZED (
    SELECT o.order_id, o.digest, g.customer_id FROM mr_order o JOIN mr_go g USING (run)
    LEFT JOIN mr_known k USING (order_id)
    -- A copy of another content than the known order is a conflict, and has to stay.
    WHERE g.parked > 0 AND (k.order_id IS NULL OR k.digest IS NULL OR k.digest = o.digest)
), mr_unparked AS (
    DELETE FROM parked_orders p
    WHERE p.order_id = ANY (ARRAY (SELECT order_id FROM mr_copy))
      AND ((p.order_id, p.customer_id, p.digest) IN (SELECT order_id, customer_id, digest FROM mr_copy)) IS TRUE
    RETURNING p.customer_id
), mr_moving AS MATERIALIZED (
    SELECT array_agg(customer_id) AS names, jsonb_object_agg(customer_id, orders) AS orders,
           jsonb_object_agg(customer_id, high) AS high
    FROM mr_go WHERE orders > 0 OR parked > 0
), mr_leaving AS MATERIALIZED (
    SELECT jsonb_object_agg(customer_id, rows) AS rows
    FROM (SELECT customer_id, count(*) AS rows FROM mr_unparked GROUP BY customer_id) u
), mr_moved AS (
    UPDATE customers l
    SET last_position = l.last_position + ((SELECT orders FROM mr_moving) ->> l.customer_id)::bigint,
        mark = greatest(l.mark, ((SELECT high FROM mr_moving) ->> l.customer_id)::numeric),
        parked = l.parked - coalesce(((SELECT rows FROM mr_leaving) ->> l.customer_id)::bigint, 0)
    WHERE l.customer_id = ANY ((SELECT names FROM mr_moving)::text[])
    RETURNING l.customer_id, l.last_position, l.mark, l.parked
), mr_new AS (
    INSERT INTO customers (customer_id, last_position, mark)
    SELECT r.customer_id, r.orders, r.high FROM mr_run r
    WHERE r.orders > 0 AND EXISTS (SELECT FROM mr_gate)
      AND NOT EXISTS (SELECT FROM mr_locked l WHERE l.customer_id = r.customer_id)
    ORDER BY r.customer_id
    ON CONFLICT DO NOTHING
    RETURNING customer_id, last_position, mark, parked
), mr_ok AS MATERIALIZED (
    SELECT customer_id, last_position, mark, parked FROM mr_moved
    UNION ALL
    SELECT customer_id, last_position, mark, parked FROM mr_new
), mr_placed AS MATERIALIZED (
    SELECT o.number, o.order_id, r.customer_id, k.last_position - r.orders + f.step AS position,
           o.digest, o.currency, o.total_minor, o.placed_at, o.body
    FROM mr_order o JOIN mr_fresh f USING (number) JOIN mr_run r ON r.run = o.run JOIN mr_ok k USING (customer_id)
), mr_orders AS (
    INSERT INTO orders (order_id, customer_id, position, digest, currency, total_minor, placed_at, body)
    SELECT order_id, customer_id, position, digest, currency, total_minor, placed_at, body
    FROM mr_placed ORDER BY number
    RETURNING 1
), mr_written AS MATERIALIZED (
    -- Whoever asks for this one row waits until all orders are inserted: an order_id that is taken is found here, and
    -- not as somebody's fault further down.
    SELECT count(*) FROM mr_orders
), mr_line AS (
    SELECT p.order_id, p.customer_id, l.line_number, l.sku, l.quantity, l.unit_price_minor
    FROM ROWS FROM (unnest($13::integer[]), unnest($14::integer[]), unnest($15::text[]), unnest($16::integer[]),
                    unnest($17::bigint[]), generate_series(1, cardinality($13::integer[])))
         AS l (number, line_number, sku, quantity, unit_price_minor, line)
    JOIN mr_placed p USING (number)
    WHERE EXISTS (SELECT FROM mr_written)
), mr_lines AS (
    INSERT INTO order_lines (order_id, line_number, sku, quantity, unit_price_minor)
    SELECT order_id, line_number, sku, quantity, unit_price_minor FROM mr_line
), mr_events AS (
    INSERT INTO order_events (order_id, customer_id, position, kind)
    SELECT order_id, customer_id, position, 'committed' FROM mr_placed ORDER BY number
)/* effects */, mr_named AS MATERIALIZED (
    SELECT o.run, array_agg(o.order_id ORDER BY o.number) AS known FROM mr_order o
    WHERE EXISTS (SELECT FROM mr_known k WHERE k.order_id = o.order_id) GROUP BY o.run
)
SELECT CASE
           WHEN NOT EXISTS (SELECT FROM mr_gate) THEN 'gate closed'
           WHEN k.customer_id IS NOT NULL OR r.orders = 0 THEN 'committed'
           WHEN l.customer_id IS NULL THEN 'locked'
           WHEN $4::boolean AND l.mark >= r.low THEN 'behind'
           WHEN l.blocked_by IS NOT NULL THEN 'blocked'
           -- It stands next, by a row that is newer than the snapshot.
           WHEN NOT $18::boolean AND l.parked = 0 THEN 'locked'
           ELSE 'ahead'
       END,
       coalesce(k.mark, l.mark, s.mark, 0)::text,
       coalesce(k.parked, l.parked, s.parked, 0),
       coalesce(n.known, '{}')
FROM mr_run r
LEFT JOIN mr_locked l USING (customer_id)
LEFT JOIN mr_ok k USING (customer_id)
LEFT JOIN mr_seen s USING (customer_id)
LEFT JOIN mr_named n ON n.run = r.run
ORDER BY r.run
