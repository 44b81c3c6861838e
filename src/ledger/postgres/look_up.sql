-- What the ledger knows of each order, with a new snapshot. The first answer that is there counts; a conflict is
-- answered by its sentence, behind '!'.
--
-- $1 ordering  $2 customer or NULL  $3 rank  $4 order_id  $5 digest  $6 "malformed"  $7 quarantine id
SELECT coalesce(
    (SELECT CASE WHEN o.digest = e.digest THEN 'ended' ELSE format(
                '!the order_id %s stands for another order, at position %s of customer %s',
                o.order_id, o.position, o.customer_id) END
     FROM orders o WHERE o.order_id = e.order_id),
    (SELECT CASE WHEN e.malformed OR t.digest IS NULL OR t.digest = e.digest THEN 'ended' ELSE format(
                '!the order_id %s stands for another order, whose position %s of customer %s was skipped by %s',
                t.order_id, t.position, t.customer_id, t.actor) END
     FROM tombstones t WHERE t.order_id = e.order_id AND t.order_id IS NOT NULL LIMIT 1),
    (SELECT 'quarantined' FROM quarantined_orders q WHERE q.id = e.case_id AND (e.malformed OR q.digest = e.digest)),
    (SELECT CASE WHEN e.malformed OR (p.digest = e.digest AND p.customer_id = e.customer_id) THEN 'parked'
                 ELSE format('!the order_id %s stands for another order, parked at %s of customer %s',
                             p.order_id, p.ord, p.customer_id) END
     FROM parked_orders p WHERE p.order_id = e.order_id),
    CASE WHEN $1::text = 'gapless' AND NOT e.malformed THEN coalesce(
        (SELECT format('!sequence %s of customer %s belongs to order %s', o.position, o.customer_id, o.order_id)
         FROM orders o WHERE o.customer_id = e.customer_id AND o.position = e.ord::bigint),
        (SELECT format('!sequence %s of customer %s was skipped by %s: %s', t.position, t.customer_id, t.actor, t.reason)
         FROM tombstones t WHERE t.customer_id = e.customer_id AND t.position = e.ord::bigint),
        (SELECT format('!sequence %s of customer %s belongs to order %s, which is parked', p.ord, p.customer_id,
                       p.order_id)
         FROM parked_orders p WHERE p.customer_id = e.customer_id AND p.ord = e.ord),
        (SELECT format('!sequence %s of customer %s belongs to order %s, which is in quarantine', q.ord, q.customer_id,
                       q.order_id)
         FROM customers c, quarantined_orders q
         WHERE c.customer_id = e.customer_id AND q.id = c.blocked_by AND q.ord = e.ord))
    END,
    CASE WHEN $1::text = 'fifo' THEN
        (SELECT 'out of sequence' FROM customers c WHERE c.customer_id = e.customer_id AND e.ord <= c.mark)
    END,
    'absent')
FROM (SELECT customer_id, rank::numeric(39) AS ord, order_id, digest, malformed, case_id, number
      FROM ROWS FROM (unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bytea[]),
                      unnest($6::boolean[]), unnest($7::text[]), generate_series(1, cardinality($3::text[])))
           AS e (customer_id, rank, order_id, digest, malformed, case_id, number)) e
ORDER BY e.number
