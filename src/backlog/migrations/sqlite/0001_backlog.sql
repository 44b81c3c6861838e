-- The backlog: orders that were accepted while the ledger was closed. Users' tools rely on these names; see README.md,
-- "Tables". Times are text in UTC with six digits of a second, so that they compare as times do.

CREATE TABLE backlog_orders (
    -- Grows with arrival, and is never used again.
    "row"       integer PRIMARY KEY AUTOINCREMENT,
    -- '' is nobody: a malformed message without a group.
    customer_id text NOT NULL,
    -- gapless: the sequence; fifo: the SequenceNumber; none: 0. Padded to 39 digits, so that it compares as a number.
    ord         text NOT NULL,
    order_id    text NOT NULL,
    digest      blob NOT NULL,
    -- Why it is no order; NULL when it is one.
    malformed   text,
    message_id  text NOT NULL,
    body        blob NOT NULL,
    sent_at_ms  bigint,
    appended_at text NOT NULL,
    -- A conflict is kept beside what it conflicts with.
    UNIQUE (order_id, digest)
);
CREATE INDEX backlog_orders_line ON backlog_orders (customer_id, ord, "row");

-- The phase.
CREATE TABLE backlog_gate (
    id     integer PRIMARY KEY CHECK (id = 1),
    phase  text NOT NULL CHECK (phase IN ('SPOOLING', 'SEALING', 'SEALED')),
    -- The window, and how often its seal was taken back.
    epoch  bigint NOT NULL,
    turn   bigint NOT NULL,
    since  text NOT NULL,
    reason text,
    actor  text,
    until  text
);
INSERT INTO backlog_gate (id, phase, epoch, turn, since)
VALUES (1, 'SEALED', 0, 0, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

-- What is about to happen. It only grows; the seal as (epoch, turn).
CREATE TABLE backlog_announced (
    id         integer PRIMARY KEY CHECK (id = 1),
    epoch      bigint NOT NULL,
    seal_epoch bigint NOT NULL,
    seal_turn  bigint NOT NULL
);
INSERT INTO backlog_announced VALUES (1, 0, 0, 0);

-- Rows ever appended and ever removed. One writes at a time, so there is one slot.
CREATE TABLE backlog_counts (
    slot     integer PRIMARY KEY,
    appended bigint NOT NULL DEFAULT 0,
    removed  bigint NOT NULL DEFAULT 0
);
INSERT INTO backlog_counts (slot) VALUES (0);

-- The drain lease.
CREATE TABLE backlog_drainer (
    id       integer PRIMARY KEY CHECK (id = 1),
    owner    text,
    until    text NOT NULL,
    progress text NOT NULL
);
INSERT INTO backlog_drainer VALUES (1, NULL, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), '{}');
