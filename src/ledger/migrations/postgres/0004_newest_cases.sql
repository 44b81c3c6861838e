-- Each sweep looks at the newest cases that may have been decided by a commit.
CREATE INDEX quarantined_orders_newest ON quarantined_orders (created_at, id) WHERE NOT blocks AND order_id IS NOT NULL;
