-- Finds what a crash left behind, for the next customers in the order of their names.
--
-- `ended` copies were parked again while a commit with an older snapshot was running, which could not see and remove
-- them. In `gapless` only places up to last_position can have an end, and what stands there without one lost its place
-- to another order: it goes to quarantine, or it would wait for ever. Everything is judged by one snapshot, in which
-- every place up to last_position is filled.
--
-- An entry of quarantine that is itself committed is none: another order had its name or its place when it was looked
-- up, and lost it; or the producer sent it again. The newest are looked at, because a verdict is not old for long.
--
-- $1 ordering  $2 the customer where the last sweep ended  $3 the most customers, and the most entries of quarantine
WITH mr_gate AS MATERIALIZED (
    SELECT epoch FROM gate
    WHERE id = 1 AND state IN ('OPEN', 'DRAINING') AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
    FOR SHARE
), mr_seen AS MATERIALIZED (
    SELECT c.customer_id, c.last_position, c.blocked_by FROM customers c
    WHERE c.parked > 0 AND c.customer_id > $2::text
    ORDER BY c.customer_id LIMIT $3::bigint
), mr_copy AS MATERIALIZED (
    -- Not EXISTS: the planner would rather hash whole tables.
    SELECT p.*, coalesce(
        (SELECT true FROM orders o WHERE o.order_id = p.order_id AND o.digest = p.digest LIMIT 1),
        (SELECT true FROM tombstones t WHERE t.order_id = p.order_id AND t.order_id IS NOT NULL
         AND (t.digest IS NULL OR t.digest = p.digest)
         AND t.customer_id = p.customer_id AND ($1::text <> 'gapless' OR t.position = p.ord) LIMIT 1),
        (SELECT true FROM quarantined_orders q WHERE q.order_id = p.order_id AND q.digest = p.digest LIMIT 1),
        (SELECT true FROM quarantined_orders q WHERE q.id = p.order_id LIMIT 1),
        false) AS ended
    FROM mr_seen s CROSS JOIN LATERAL (
        SELECT p.customer_id, p.ord, p.order_id, p.digest, p.malformed, p.body FROM parked_orders p
        WHERE p.customer_id = s.customer_id AND ($1::text <> 'gapless' OR p.ord <= s.last_position)
        -- A bound; what lies behind it comes when these are gone.
        ORDER BY p.ord LIMIT 1000) p
), mr_locked AS MATERIALIZED (
    SELECT l.customer_id FROM customers l
    WHERE l.customer_id = ANY (ARRAY (SELECT customer_id FROM mr_copy WHERE ended OR $1::text = 'gapless'))
      AND EXISTS (SELECT FROM mr_gate)
    ORDER BY l.customer_id
    FOR UPDATE OF l SKIP LOCKED
), mr_removed AS (
    DELETE FROM parked_orders p
    WHERE p.order_id = ANY (ARRAY (SELECT order_id FROM mr_copy WHERE ended OR $1::text = 'gapless'))
      AND ((p.order_id, p.customer_id, p.digest) IN (SELECT order_id, customer_id, digest FROM mr_copy)) IS TRUE
      AND (p.customer_id IN (SELECT customer_id FROM mr_locked)) IS TRUE
    RETURNING p.customer_id, p.ord, p.order_id, p.digest, p.body,
              (p.order_id IN (SELECT order_id FROM mr_copy WHERE ended)) IS TRUE AS ended
), mr_leaving AS MATERIALIZED (
    SELECT array_agg(customer_id) AS names, jsonb_object_agg(customer_id, rows) AS rows
    FROM (SELECT customer_id, count(*) AS rows FROM mr_removed GROUP BY customer_id) r
), mr_counted AS (
    UPDATE customers l SET parked = l.parked - ((SELECT rows FROM mr_leaving) ->> l.customer_id)::bigint
    WHERE l.customer_id = ANY ((SELECT names FROM mr_leaving)::text[])
), mr_case AS (
    INSERT INTO quarantined_orders (id, order_id, customer_id, ord, digest, kind, reason, body, blocks)
    SELECT order_id || '~' || left(encode(digest, 'hex'), 16), order_id, customer_id, ord, digest, 'conflict',
           format('sequence %s of customer %s belongs to another order', ord, customer_id), body, false
    FROM mr_removed WHERE NOT ended
    ON CONFLICT (id) DO NOTHING
), mr_accused AS MATERIALIZED (
    SELECT q.id, coalesce(
        (SELECT true FROM orders o WHERE o.order_id = q.order_id AND o.digest = q.digest LIMIT 1), false) AS committed
    FROM (SELECT id, order_id, digest FROM quarantined_orders
          WHERE NOT blocks AND order_id IS NOT NULL ORDER BY created_at DESC, id DESC LIMIT $3::bigint) q
), mr_acquitted AS (
    DELETE FROM quarantined_orders q
    WHERE q.id = ANY (ARRAY (SELECT id FROM mr_accused WHERE committed)) AND EXISTS (SELECT FROM mr_gate)
)
SELECT s.customer_id, s.blocked_by IS NULL AND coalesce(CASE WHEN $1::text = 'gapless'
    THEN (SELECT true FROM parked_orders p WHERE p.customer_id = s.customer_id AND p.ord = s.last_position + 1 LIMIT 1)
    ELSE (SELECT true FROM parked_orders p
          WHERE p.customer_id = s.customer_id
            AND p.order_id NOT IN (SELECT order_id FROM mr_copy WHERE ended) LIMIT 1)
    END, false)
FROM mr_seen s ORDER BY s.customer_id
