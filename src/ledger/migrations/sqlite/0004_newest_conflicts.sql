-- Each sweep looks at the newest conflicts.
CREATE INDEX quarantined_orders_conflicts ON quarantined_orders (created_at, id) WHERE kind = 'conflict';
