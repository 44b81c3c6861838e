-- Quarantines an entry that blocks nobody, and removes the parked copy of the very same entry.
--
-- $1 id  $2 order_id or NULL  $3 customer or NULL  $4 rank  $5 digest  $6 kind  $7 reason  $8 body
-- $9 its name among the parked orders
WITH mr_gate AS MATERIALIZED (
    SELECT epoch FROM gate
    WHERE id = 1 AND state IN ('OPEN', 'DRAINING') AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
    FOR SHARE
), mr_locked AS MATERIALIZED (
    SELECT l.customer_id FROM customers l
    WHERE l.customer_id = $3::text AND EXISTS (SELECT FROM mr_gate)
    FOR UPDATE OF l
), mr_case AS (
    INSERT INTO quarantined_orders (id, order_id, customer_id, ord, digest, kind, reason, body, blocks)
    SELECT $1::text, $2::text, $3::text, $4::text::numeric(39), $5::bytea, $6::text, $7::text, $8::bytea, false
    FROM mr_gate
    ON CONFLICT (id) DO NOTHING
), mr_unparked AS (
    DELETE FROM parked_orders p USING mr_locked l
    WHERE p.order_id = $9::text AND p.customer_id = l.customer_id AND p.digest = $5::bytea
    RETURNING p.customer_id
), mr_counted AS (
    UPDATE customers l SET parked = l.parked - 1
    FROM mr_unparked u WHERE l.customer_id = $3::text AND l.customer_id = u.customer_id
)
SELECT CASE WHEN EXISTS (SELECT FROM mr_gate) THEN 'quarantined' ELSE 'gate closed' END
