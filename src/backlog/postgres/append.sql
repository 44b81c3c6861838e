-- One append. No rows at all: it was refused. Otherwise one for each order, in their order: whether it is new.
--
-- $1 epoch, $2 slot of the counts, then the columns of the orders: $3 customer, $4 rank, $5 name, $6 digest,
-- $7 malformed, $8 message id, $9 body, $10 sent at.
WITH gate AS MATERIALIZED (
    -- Judged on the locked row; the announcement is as old as the statement, and only there so that a change of the
    -- phase need not wait for appends that begin after it.
    SELECT g.epoch FROM backlog_gate g
    WHERE g.id = 1 AND g.phase = 'SPOOLING' AND g.epoch = $1
      AND NOT EXISTS (SELECT FROM backlog_announced a
                      WHERE a.id = 1 AND (a.epoch > g.epoch OR (a.seal_epoch = g.epoch AND a.seal_turn > g.turn)))
    FOR SHARE OF g
), asked AS MATERIALIZED (
    -- Rows are numbered in the order of arrival …
    SELECT nextval('backlog_orders_row_seq') AS number, a.*
    FROM (SELECT u.* FROM gate, unnest($3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[],
                                       $9::bytea[], $10::bigint[])
              WITH ORDINALITY AS u (customer_id, ord, order_id, digest, malformed, message_id, body, sent_at_ms, n)
          ORDER BY u.n) a
), kept AS (
    -- … and written in the order of names, so that two sessions with the same orders wait for each other one way.
    INSERT INTO backlog_orders (row, customer_id, ord, order_id, digest, malformed, message_id, body, sent_at_ms)
    SELECT a.number, a.customer_id, a.ord::numeric, a.order_id, a.digest, a.malformed, a.message_id, a.body,
           a.sent_at_ms
    FROM asked a ORDER BY a.order_id COLLATE "C", a.digest, a.n
    ON CONFLICT (order_id, digest) DO NOTHING
    RETURNING backlog_orders.row
), counted AS (
    UPDATE backlog_counts c SET appended = c.appended + (SELECT count(*) FROM kept)
    WHERE c.slot = $2 AND EXISTS (SELECT FROM kept)
)
SELECT a.number IN (SELECT k.row FROM kept k) FROM asked a ORDER BY a.n
