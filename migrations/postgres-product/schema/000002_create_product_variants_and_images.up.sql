-- Create product variants table (sizes, colours)
CREATE TABLE IF NOT EXISTS product_variants (
    id SERIAL PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products(id) ON DELETE CASCADE,
    sku VARCHAR(64) NOT NULL UNIQUE,
    options JSONB NOT NULL DEFAULT '{}',
    price_difference NUMERIC(12, 2) NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(product_id, options),
    CONSTRAINT product_variants_options_object CHECK (jsonb_typeof(options) = 'object')
);

-- Create product images table
CREATE TABLE IF NOT EXISTS product_images (
    id SERIAL PRIMARY KEY,
    product_id INTEGER NOT NULL REFERENCES products(id) ON DELETE CASCADE,
    variant_id INTEGER REFERENCES product_variants(id) ON DELETE SET NULL,
    url VARCHAR(1000) NOT NULL,
    alt_text VARCHAR(500),
    position INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    UNIQUE(product_id, position)
);

-- Create indexes
CREATE INDEX idx_product_images_variant_id ON product_images(variant_id);
