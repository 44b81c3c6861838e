-- Stock reservation, an example for `ledger.effects`: each order takes its quantities from the stock, in the very commit
-- that writes the order. Works as it is on PostgreSQL; on SQLite leave out the two words FOR UPDATE (a writer is alone
-- there). The table is the team's own:
--
--   CREATE TABLE stock (sku text PRIMARY KEY, available bigint NOT NULL CHECK (available >= 0));
--
-- Three rules for such a file:
--  * `committed` and `committed_lines` hold the orders of a whole batch: aggregate before you update, or a SKU that is in
--    two of its orders is counted once.
--  * Lock hot rows in sorted order before you update them, or two batches wait for each other.
--  * An order's own fault is an error (here the CHECK): the engine finds the order and quarantines it alone.
WITH wanted AS (
    SELECT sku, sum(quantity) AS quantity FROM committed_lines GROUP BY sku
), reserved AS (
    SELECT stock.sku FROM stock WHERE stock.sku IN (SELECT sku FROM wanted) ORDER BY stock.sku FOR UPDATE
)
UPDATE stock
SET available = stock.available - wanted.quantity
FROM wanted JOIN reserved ON reserved.sku = wanted.sku
WHERE stock.sku = wanted.sku;
