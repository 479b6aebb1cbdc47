-- Add a search column that is always up to date
ALTER TABLE products ADD COLUMN search TSVECTOR NOT NULL
    GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', sku || ' ' || name), 'A') ||
        setweight(to_tsvector('simple', coalesce(description, '')), 'B')
    ) STORED;

CREATE INDEX idx_products_search ON products USING GIN (search);
