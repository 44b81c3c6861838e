-- What a person decided about an entry in quarantine, or about a number that never comes. Rows are only added: the
-- entry is kept as it was, so that nothing is lost by a decision.
CREATE TABLE decisions (
    decision_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    action         text NOT NULL CHECK (action IN ('retry', 'replace', 'skip', 'skip_gap')),
    -- quarantined_orders.id as it was; NULL for skip_gap.
    case_id        text,
    order_id       text,
    customer_id    text,
    -- The position that a tombstone took.
    position       bigint,
    -- Why, by the actor's own words.
    reason         text,
    actor          text NOT NULL,
    decided_at     timestamptz NOT NULL DEFAULT now(),
    -- The entry: why it was in quarantine, where it stood, and what it was.
    kind           text,
    case_reason    text,
    ord            numeric(39),
    digest         bytea,
    body           bytea,
    quarantined_at timestamptz,
    -- The order that took its place (replace).
    new_order_id   text,
    new_digest     bytea,
    new_body       text
);
CREATE INDEX decisions_case_id ON decisions (case_id) WHERE case_id IS NOT NULL;

CREATE INDEX quarantined_orders_created_at ON quarantined_orders (created_at, id);

-- The content that the tombstone's order_id stood for: the name with another content is another order. NULL: whatever
-- has the name.
ALTER TABLE tombstones ADD COLUMN digest bytea;
