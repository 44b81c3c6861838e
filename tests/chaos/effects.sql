-- The team's effect: each customer's chain over its orders, in the order of the commits. The link is a function of the
-- row as it is, never of a snapshot: a commit that went astray breaks the chain for good.
INSERT INTO chains AS chain (customer_id, orders, total_minor, link, items, refused)
SELECT customer_id, count(*), sum(total_minor), extended('', array_agg(item ORDER BY position)),
       array_agg(item ORDER BY position), count(*) FILTER (WHERE is_refused)
FROM (
    SELECT customer_id, position, total_minor,
           order_id || ':' || encode(sha256(convert_to(body, 'UTF8')), 'hex') AS item,
           currency = 'XXX' AND order_id NOT IN (SELECT order_id FROM pardons) AS is_refused
    FROM committed
) AS items
GROUP BY customer_id
ORDER BY customer_id
ON CONFLICT (customer_id) DO UPDATE
SET orders = chain.orders + excluded.orders,
    total_minor = chain.total_minor + excluded.total_minor,
    link = extended(chain.link, excluded.items),
    items = excluded.items,
    refused = excluded.refused
