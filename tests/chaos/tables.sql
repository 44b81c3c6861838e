-- What the team's effect writes to.
CREATE TABLE chains (
    customer_id text PRIMARY KEY,
    orders      bigint NOT NULL,
    total_minor bigint NOT NULL,
    link        text NOT NULL,
    -- What the last commit added.
    items       text[] NOT NULL,
    -- Poison: an order that this table does not take.
    refused     bigint NOT NULL CHECK (refused = 0)
);

-- Poison that a person has made good, so that it may be tried again.
CREATE TABLE pardons (order_id text PRIMARY KEY);

CREATE FUNCTION extended(link text, items text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    item text;
BEGIN
    FOREACH item IN ARRAY items LOOP
        link := encode(sha256(convert_to(link || item, 'UTF8')), 'hex');
    END LOOP;
    RETURN link;
END $$;
