-- Quarantines the order that stands next, and blocks its customer. A stale verdict changes nothing.
--
-- $1 ordering  $2 id  $3 order_id or NULL  $4 customer  $5 rank  $6 digest  $7 kind  $8 reason  $9 body
-- $10 its name among the parked orders  $11 the epoch that is drained, or NULL
WITH mr_gate AS MATERIALIZED (
    SELECT epoch FROM gate
    WHERE id = 1 AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
      -- It takes a place in the line, as a commit does: of a live order, what stands before it may be in the backlog.
      AND CASE WHEN $11::bigint IS NULL THEN state = 'OPEN' ELSE state = 'DRAINING' AND epoch = $11::bigint END
    FOR SHARE
), mr_rank AS MATERIALIZED (
    SELECT $5::text::numeric(39) AS rank
), mr_seen AS MATERIALIZED (
    SELECT c.xmin AS version FROM customers c WHERE c.customer_id = $4::text
), mr_known AS MATERIALIZED (
    -- What lies aside, as a conflict that is none any more, blocks nobody yet.
    SELECT q.id FROM quarantined_orders q WHERE q.id = $2::text AND q.blocks
), mr_locked AS MATERIALIZED (
    SELECT l.customer_id, l.last_position, l.mark, l.parked, l.blocked_by, l.xmin AS version FROM customers l
    WHERE l.customer_id = $4::text AND EXISTS (SELECT FROM mr_gate)
    FOR UPDATE OF l
), mr_next AS MATERIALIZED (
    SELECT l.customer_id FROM mr_locked l, mr_rank r
    WHERE l.blocked_by IS NULL AND NOT EXISTS (SELECT FROM mr_known)
      AND CASE $1::text
          -- parked_orders is read from the snapshot, so it must be the one of the locked row.
          WHEN 'gapless' THEN l.last_position = r.rank - 1
              AND (l.parked = 0 OR l.version = (SELECT version FROM mr_seen)
                  AND NOT EXISTS (SELECT FROM parked_orders p WHERE p.customer_id = $4::text AND p.ord = r.rank
                                  AND (p.order_id, p.digest) IS DISTINCT FROM ($10::text, $6::bytea)))
          WHEN 'fifo' THEN l.mark < r.rank AND l.version = (SELECT version FROM mr_seen)
              AND NOT EXISTS (SELECT FROM parked_orders p WHERE p.customer_id = $4::text AND p.ord < r.rank)
          ELSE true
          END
), mr_unparked AS (
    DELETE FROM parked_orders p USING mr_next n
    WHERE p.order_id = $10::text AND p.customer_id = n.customer_id AND p.digest = $6::bytea
    RETURNING p.customer_id
), mr_blocked AS (
    UPDATE customers l SET blocked_by = $2::text, parked = l.parked - (SELECT count(*) FROM mr_unparked)
    FROM mr_next n WHERE l.customer_id = $4::text AND l.customer_id = n.customer_id
    RETURNING l.customer_id
), mr_new AS (
    INSERT INTO customers (customer_id, blocked_by)
    SELECT $4::text, $2::text FROM mr_rank r
    WHERE EXISTS (SELECT FROM mr_gate) AND NOT EXISTS (SELECT FROM mr_locked) AND NOT EXISTS (SELECT FROM mr_known)
      AND ($1::text <> 'gapless' OR r.rank = 1)
    ON CONFLICT DO NOTHING
    RETURNING customer_id
), mr_done AS MATERIALIZED (
    SELECT customer_id FROM mr_blocked UNION ALL SELECT customer_id FROM mr_new
), mr_case AS (
    INSERT INTO quarantined_orders (id, order_id, customer_id, ord, digest, kind, reason, body, blocks)
    SELECT $2::text, $3::text, $4::text, r.rank, $6::bytea, $7::text, $8::text, $9::bytea, true FROM mr_done, mr_rank r
    -- What lay aside may have come again at another place: it blocks at this one.
    ON CONFLICT (id) DO UPDATE
    SET blocks = true, ord = excluded.ord, kind = excluded.kind, reason = excluded.reason, created_at = excluded.created_at
)
SELECT CASE
    WHEN NOT EXISTS (SELECT FROM mr_gate) THEN 'gate closed'
    WHEN EXISTS (SELECT FROM mr_done) OR EXISTS (SELECT FROM mr_known) THEN 'quarantined'
    WHEN EXISTS (SELECT FROM mr_locked WHERE blocked_by = $2::text) THEN 'quarantined'
    WHEN EXISTS (SELECT FROM mr_locked WHERE blocked_by IS NOT NULL) THEN 'blocked'
    ELSE 'not next'
END
