, committed (order_id, customer_id, position, currency, total_minor, placed_at, body) AS NOT MATERIALIZED (
    SELECT order_id, customer_id, position, currency, total_minor, placed_at, body FROM mr_placed
    WHERE EXISTS (SELECT FROM mr_written)
), committed_lines (order_id, customer_id, line_number, sku, quantity, unit_price_minor) AS NOT MATERIALIZED (
    SELECT order_id, customer_id, line_number, sku, quantity, unit_price_minor FROM mr_line
), mr_effects AS (
