-- One group commit, `gapless`: the producer's sequence is the position.
--
-- Why it is written like this:
--  * The customers are locked by nothing but their names, then judged as locked. A condition beside the lock would be
--    judged on the older snapshot, and the customer would drop out without a verdict.
--  * Tables are reached by `= ANY (names of this batch)` alone and never joined, so that a plan made while they were
--    empty stays cheap when they are large: values come to the rows of a table through jsonb maps. `(… IN …) IS TRUE`
--    is a hash table too. generate_series makes the planner expect many rows of a batch, hence hash joins.
--  * All names begin with mr_, so that a team's effects meet none of them by accident.
--
-- $1 gate states  $2 customers, sorted  $3 position before the run  $4 position after it
-- orders: $5 run (from 1)  $6 position  $7 order_id  $8 digest  $9 currency  $10 total_minor  $11 placed_at  $12 body
-- lines: $13 order (from 1)  $14 line_number  $15 sku  $16 quantity  $17 unit_price_minor
-- $18 the epoch that is drained, or NULL
WITH mr_gate AS MATERIALIZED (
    SELECT epoch FROM gate
    WHERE id = 1 AND state = ANY ($1::text[]) AND epoch = coalesce($18::bigint, epoch)
      AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
    FOR SHARE
), mr_run AS MATERIALIZED (
    SELECT customer_id, before, after, run
    FROM ROWS FROM (unnest($2::text[]), unnest($3::bigint[]), unnest($4::bigint[]),
                    generate_series(1, cardinality($2::text[]))) AS r (customer_id, before, after, run)
), mr_locked AS MATERIALIZED (
    SELECT l.customer_id, l.last_position, l.parked, l.blocked_by, l.xmin AS version FROM customers l
    WHERE l.customer_id = ANY ($2::text[]) AND EXISTS (SELECT FROM mr_gate)
    ORDER BY l.customer_id
    FOR UPDATE OF l SKIP LOCKED
), mr_old AS MATERIALIZED (
    -- As the snapshot shows them. `xmin` names the version of the row. Only customers that have parked orders, which
    -- are few.
    SELECT c.customer_id, c.xmin AS version FROM customers c
    WHERE c.customer_id = ANY (ARRAY (SELECT customer_id FROM mr_locked WHERE parked > 0))
), mr_stale AS MATERIALIZED (
    -- parked_orders is read from the snapshot, so it must be the one of the locked row: what was parked since, and
    -- acked, may be for one of the places. The run is tried again.
    SELECT l.customer_id FROM mr_locked l
    WHERE l.parked > 0
      AND NOT EXISTS (SELECT FROM mr_old o WHERE o.customer_id = l.customer_id AND o.version = l.version)
), mr_next AS MATERIALIZED (
    SELECT r.run, r.customer_id, r.after, l.parked FROM mr_run r JOIN mr_locked l USING (customer_id)
    WHERE l.last_position = r.before AND l.blocked_by IS NULL
      AND NOT EXISTS (SELECT FROM mr_stale s WHERE s.customer_id = l.customer_id)
), mr_order AS MATERIALIZED (
    SELECT run, position, order_id, digest, currency, total_minor, placed_at, body, number
    FROM ROWS FROM (unnest($5::integer[]), unnest($6::bigint[]), unnest($7::text[]), unnest($8::bytea[]),
                    unnest($9::text[]), unnest($10::bigint[]), unnest($11::timestamptz[]), unnest($12::text[]),
                    generate_series(1, cardinality($5::integer[])))
         AS o (run, position, order_id, digest, currency, total_minor, placed_at, body, number)
), mr_copy AS MATERIALIZED (
    -- Only of customers that have parked orders, which are few.
    SELECT o.order_id, o.digest, o.position, n.customer_id FROM mr_order o JOIN mr_next n USING (run) WHERE n.parked > 0
), mr_rival AS MATERIALIZED (
    -- Another order was parked for one of the places, and acked: it goes first. A subquery for each order, because the
    -- planner cannot turn it into a join.
    SELECT DISTINCT customer_id FROM (
        SELECT c.customer_id, (SELECT (p.order_id, p.digest) IS DISTINCT FROM (c.order_id, c.digest) FROM parked_orders p
                               WHERE p.customer_id = c.customer_id AND p.ord = c.position::numeric) AS other
        FROM mr_copy c) r
    WHERE other
), mr_fit AS MATERIALIZED (
    SELECT run, customer_id, after, parked FROM mr_next
    WHERE NOT EXISTS (SELECT FROM mr_rival r WHERE r.customer_id = mr_next.customer_id)
), mr_first AS MATERIALIZED (
    SELECT r.run, r.customer_id, r.after FROM mr_run r
    WHERE r.before = 0 AND EXISTS (SELECT FROM mr_gate)
      AND NOT EXISTS (SELECT FROM mr_locked l WHERE l.customer_id = r.customer_id)
), mr_tomb AS MATERIALIZED (
    SELECT t.order_id FROM tombstones t WHERE t.order_id = ANY ($7::text[]) AND t.order_id IS NOT NULL
), mr_buried AS MATERIALIZED (
    -- A name that a tombstone has is taken, as one is that an order has: nothing of the batch is written.
    SELECT o.order_id FROM mr_order o JOIN mr_tomb USING (order_id)
    WHERE o.run IN (SELECT run FROM mr_fit) OR o.run IN (SELECT run FROM mr_first)
), mr_go AS MATERIALIZED (
    SELECT run, customer_id, after, parked FROM mr_fit WHERE NOT EXISTS (SELECT FROM mr_buried)
), mr_unparked AS (
    DELETE FROM parked_orders p
    WHERE p.order_id = ANY (ARRAY (SELECT order_id FROM mr_copy))
      AND ((p.order_id, p.customer_id, p.digest) IN (SELECT order_id, customer_id, digest FROM mr_copy)) IS TRUE
      AND (p.customer_id IN (SELECT customer_id FROM mr_go)) IS TRUE
    RETURNING p.customer_id
), mr_moving AS MATERIALIZED (
    SELECT array_agg(customer_id) AS names, jsonb_object_agg(customer_id, after) AS after FROM mr_go
), mr_leaving AS MATERIALIZED (
    SELECT jsonb_object_agg(customer_id, rows) AS rows
    FROM (SELECT customer_id, count(*) AS rows FROM mr_unparked GROUP BY customer_id) u
), mr_moved AS (
    -- `parked` is counted down from the locked row, which is newer than the snapshot.
    UPDATE customers l
    SET last_position = ((SELECT after FROM mr_moving) ->> l.customer_id)::bigint,
        parked = l.parked - coalesce(((SELECT rows FROM mr_leaving) ->> l.customer_id)::bigint, 0)
    WHERE l.customer_id = ANY ((SELECT names FROM mr_moving)::text[])
    RETURNING l.customer_id, l.last_position, l.parked
), mr_new AS (
    -- A customer's first order has no row to lock; whoever inserts it first wins.
    INSERT INTO customers (customer_id, last_position)
    SELECT r.customer_id, r.after FROM mr_first r
    WHERE NOT EXISTS (SELECT FROM mr_buried)
    ORDER BY r.customer_id
    ON CONFLICT DO NOTHING
    RETURNING customer_id, last_position, parked
), mr_ok AS MATERIALIZED (
    SELECT customer_id, last_position, parked FROM mr_moved
    UNION ALL
    SELECT customer_id, last_position, parked FROM mr_new
), mr_placed AS MATERIALIZED (
    SELECT o.number, o.order_id, r.customer_id, o.position, o.digest, o.currency, o.total_minor, o.placed_at, o.body
    FROM mr_order o JOIN mr_run r USING (run) JOIN mr_ok USING (customer_id)
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
    -- In the order of positions: event_id has to grow with them.
    INSERT INTO order_events (order_id, customer_id, position, kind)
    SELECT order_id, customer_id, position, 'committed' FROM mr_placed ORDER BY number
)/* effects */, mr_missing AS MATERIALIZED (
    SELECT r.customer_id FROM mr_run r
    WHERE NOT EXISTS (SELECT FROM mr_locked l WHERE l.customer_id = r.customer_id)
), mr_seen AS MATERIALIZED (
    SELECT c.customer_id FROM customers c WHERE c.customer_id = ANY (ARRAY (SELECT customer_id FROM mr_missing))
)
SELECT CASE
           WHEN NOT EXISTS (SELECT FROM mr_gate) THEN 'gate closed'
           WHEN EXISTS (SELECT FROM mr_buried) THEN 'buried'
           WHEN k.customer_id IS NOT NULL THEN 'committed'
           WHEN l.last_position > r.before THEN 'behind'
           WHEN l.blocked_by IS NOT NULL THEN 'blocked'
           WHEN EXISTS (SELECT FROM mr_rival v WHERE v.customer_id = r.customer_id) THEN 'ahead'
           WHEN l.last_position = r.before THEN 'locked'
           WHEN l.last_position < r.before OR (s.customer_id IS NULL AND r.before > 0) THEN 'ahead'
           ELSE 'locked'
       END,
       coalesce(k.last_position, l.last_position, 0)::text,
       coalesce(k.parked, l.parked, 0),
       '{}'::text[]
FROM mr_run r
LEFT JOIN mr_locked l USING (customer_id)
LEFT JOIN mr_ok k USING (customer_id)
LEFT JOIN mr_seen s USING (customer_id)
ORDER BY r.run
