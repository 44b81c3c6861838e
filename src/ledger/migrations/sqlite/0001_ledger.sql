-- The ledger. Users' tools rely on these names; see README.md, "Tables".

-- One row a customer: the judge of every commit. Ranks are text, padded to 39 digits, so that they compare as numbers.
CREATE TABLE customers (
    customer_id   text PRIMARY KEY,
    last_position bigint NOT NULL DEFAULT 0,
    -- fifo: the highest SequenceNumber that has an end; up to 39 digits.
    mark          text NOT NULL DEFAULT '000000000000000000000000000000000000000',
    -- Rows of this customer in parked_orders, counted by those that really insert and delete them.
    parked        bigint NOT NULL DEFAULT 0,
    -- quarantined_orders.id of the head of its line: nothing of it commits until a person decides.
    blocked_by    text
);
CREATE INDEX customers_parked ON customers (customer_id) WHERE parked > 0;

CREATE TABLE orders (
    order_id     text PRIMARY KEY,
    customer_id  text NOT NULL,
    position     bigint NOT NULL,
    digest       blob NOT NULL,
    currency     text NOT NULL,
    total_minor  bigint NOT NULL,
    placed_at    text NOT NULL,
    body         text NOT NULL,
    committed_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    UNIQUE (customer_id, position)
);

CREATE TABLE order_lines (
    order_id         text NOT NULL,
    line_number      integer NOT NULL,
    sku              text NOT NULL,
    quantity         integer NOT NULL,
    unit_price_minor bigint NOT NULL,
    PRIMARY KEY (order_id, line_number)
);

-- The outbox; event_id grows with position within a customer.
CREATE TABLE order_events (
    event_id     integer PRIMARY KEY AUTOINCREMENT,
    order_id     text NOT NULL,
    customer_id  text NOT NULL,
    position     bigint NOT NULL,
    kind         text NOT NULL,
    created_at   text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    published_at text
);

-- An operator's decision that a position stays empty.
CREATE TABLE tombstones (
    customer_id text NOT NULL,
    position    bigint NOT NULL,
    order_id    text,
    reason      text NOT NULL,
    actor       text NOT NULL,
    created_at  text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (customer_id, position)
);
CREATE INDEX tombstones_order_id ON tombstones (order_id) WHERE order_id IS NOT NULL;

-- Durable, waiting: for a predecessor, or because the customer is blocked.
CREATE TABLE parked_orders (
    customer_id text NOT NULL,
    -- The sequence (gapless) or SequenceNumber (fifo).
    ord         text NOT NULL,
    -- The order_id, or '!' and the message id of a malformed message.
    order_id    text NOT NULL UNIQUE,
    digest      blob NOT NULL,
    -- Why a malformed message is none; NULL for an order.
    malformed   text,
    -- Bytes, because a malformed message may hold what text cannot.
    body        blob NOT NULL,
    parked_at   text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (customer_id, ord)
);

-- Waiting for a person. One row a message, however often SQS delivers it.
CREATE TABLE quarantined_orders (
    -- order_id~digest (16 hex digits), or '!' and the message id.
    id          text PRIMARY KEY,
    order_id    text,
    customer_id text,
    ord         text,
    digest      blob NOT NULL,
    kind        text NOT NULL,
    reason      text NOT NULL,
    body        blob NOT NULL,
    -- customers.blocked_by names this row.
    blocks      integer NOT NULL,
    created_at  text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX quarantined_orders_order_id ON quarantined_orders (order_id);

-- The ledger's switch, checked inside every write.
CREATE TABLE gate (
    id     integer PRIMARY KEY CHECK (id = 1),
    state  text NOT NULL CHECK (state IN ('OPEN', 'CLOSED', 'DRAINING')),
    epoch  bigint NOT NULL,
    reason text,
    actor  text,
    since  text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    until  text
);
INSERT INTO gate (id, state, epoch) VALUES (1, 'OPEN', 0);

-- Only grows. A write needs gate.epoch >= announced, so that a close waits only for the writes in flight.
CREATE TABLE gate_announced (
    id    integer PRIMARY KEY CHECK (id = 1),
    epoch bigint NOT NULL
);
INSERT INTO gate_announced (id, epoch) VALUES (1, 0);

-- Where this ledger's orders come from: marks belong to one queue.
CREATE TABLE ledger_source (
    id               integer PRIMARY KEY CHECK (id = 1),
    ordering         text NOT NULL,
    queue_arn        text NOT NULL,
    queue_created_at bigint NOT NULL,
    accepted_by      text NOT NULL,
    accepted_at      text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
