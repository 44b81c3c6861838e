-- Parks orders. The judge is the locked row; `parked` grows by the rows that are really inserted.
--
-- A customer without a row is only inserted here, with nothing parked: a row cannot be counted up in the statement that
-- inserts it. Its orders are answered 'again', and the caller asks once more.
--
-- $1 ordering  $2 customers, sorted, each once
-- orders: $3 customer or NULL  $4 rank  $5 order_id  $6 digest  $7 malformed or NULL  $8 body  $9 quarantine id
-- $10 the epoch that is drained, or NULL
WITH mr_gate AS MATERIALIZED (
    SELECT epoch FROM gate
    WHERE id = 1 AND epoch >= (SELECT epoch FROM gate_announced WHERE id = 1)
      AND CASE WHEN $10::bigint IS NULL THEN state = 'OPEN' ELSE state = 'DRAINING' AND epoch = $10::bigint END
    FOR SHARE
), mr_entry AS MATERIALIZED (
    SELECT customer_id, rank::numeric(39) AS ord, order_id, digest, malformed, body, case_id, number
    FROM ROWS FROM (unnest($3::text[]), unnest($4::text[]), unnest($5::text[]), unnest($6::bytea[]),
                    unnest($7::text[]), unnest($8::bytea[]), unnest($9::text[]),
                    generate_series(1, cardinality($4::text[])))
         AS e (customer_id, rank, order_id, digest, malformed, body, case_id, number)
), mr_locked AS MATERIALIZED (
    SELECT l.customer_id, l.last_position, l.mark, l.parked, l.blocked_by FROM customers l
    WHERE l.customer_id = ANY ($2::text[]) AND EXISTS (SELECT FROM mr_gate)
    ORDER BY l.customer_id
    FOR UPDATE OF l
), mr_new AS (
    INSERT INTO customers (customer_id)
    SELECT DISTINCT e.customer_id FROM mr_entry e
    WHERE $1::text = 'gapless' AND e.ord > 1 AND e.customer_id IS NOT NULL AND EXISTS (SELECT FROM mr_gate)
      AND NOT EXISTS (SELECT FROM mr_locked l WHERE l.customer_id = e.customer_id)
    ORDER BY e.customer_id
    ON CONFLICT DO NOTHING
), mr_judged AS MATERIALIZED (
    SELECT e.number, CASE
        -- The blocked order itself, or another one for its place. In fifo it may have been sent before, below the mark.
        WHEN l.blocked_by = e.case_id AND ($1::text = 'gapless' OR e.ord > l.mark) THEN 'taken'
        WHEN $1::text = 'gapless' THEN CASE
            WHEN e.ord > l.last_position + 1 THEN 'park'
            WHEN e.ord = l.last_position + 1 AND l.blocked_by IS NOT NULL THEN 'taken'
            ELSE 'not early' END
        WHEN $1::text = 'fifo' AND e.ord > l.mark AND (l.blocked_by IS NOT NULL OR l.parked > 0) THEN 'park'
        ELSE 'not early' END AS verdict
    FROM mr_entry e JOIN mr_locked l USING (customer_id)
), mr_parked AS (
    INSERT INTO parked_orders (customer_id, ord, order_id, digest, malformed, body)
    SELECT e.customer_id, e.ord, e.order_id, e.digest, e.malformed, e.body
    FROM mr_entry e JOIN mr_judged j USING (number) WHERE j.verdict = 'park'
    ORDER BY e.customer_id, e.ord, e.number
    ON CONFLICT DO NOTHING
    RETURNING customer_id, ord, order_id, digest
), mr_coming AS MATERIALIZED (
    SELECT array_agg(customer_id) AS names, jsonb_object_agg(customer_id, rows) AS rows
    FROM (SELECT customer_id, count(*) AS rows FROM mr_parked GROUP BY customer_id) i
), mr_counted AS (
    UPDATE customers l SET parked = l.parked + ((SELECT rows FROM mr_coming) ->> l.customer_id)::bigint
    WHERE l.customer_id = ANY ((SELECT names FROM mr_coming)::text[])
)
SELECT CASE
           WHEN NOT EXISTS (SELECT FROM mr_gate) THEN 'gate closed'
           WHEN i.order_id IS NOT NULL THEN 'parked'
           WHEN j.verdict = 'park' THEN 'taken'
           WHEN j.verdict IS NOT NULL THEN j.verdict
           WHEN e.customer_id IS NULL OR $1::text <> 'gapless' OR e.ord <= 1 THEN 'not early'
           ELSE 'again'
       END
FROM mr_entry e
LEFT JOIN mr_judged j USING (number)
LEFT JOIN mr_parked i
    ON i.customer_id = e.customer_id AND i.ord = e.ord AND i.order_id = e.order_id AND i.digest = e.digest
ORDER BY e.number
