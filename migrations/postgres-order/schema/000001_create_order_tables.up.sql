BEGIN;

CREATE TYPE order_status AS ENUM ('pending', 'paid', 'packed', 'shipped', 'delivered', 'cancelled', 'refunded');

-- Create orders table; user_id is an id of database "user", which no foreign key can reach
CREATE TABLE IF NOT EXISTS orders (
    id SERIAL PRIMARY KEY,
    order_number VARCHAR(32) NOT NULL UNIQUE,
    user_id INTEGER NOT NULL,
    status order_status NOT NULL DEFAULT 'pending',
    currency CHAR(3) NOT NULL DEFAULT 'THB',
    total NUMERIC(14, 2) NOT NULL DEFAULT 0,
    shipping_address JSONB NOT NULL DEFAULT '{}',
    note TEXT,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT orders_total_not_negative CHECK (total >= 0)
);

-- Create order items table; product_id is an id of database "product". Name and price are as they were when ordered
CREATE TABLE IF NOT EXISTS order_items (
    id SERIAL PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders(id) ON DELETE CASCADE,
    product_id INTEGER NOT NULL,
    sku VARCHAR(64) NOT NULL,
    product_name VARCHAR(255) NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    unit_price NUMERIC(12, 2) NOT NULL CHECK (unit_price >= 0),
    line_total NUMERIC(14, 2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
    UNIQUE(order_id, sku)
);

-- Create indexes
CREATE INDEX idx_orders_user_id ON orders(user_id, created_at DESC);
CREATE INDEX idx_order_items_product_id ON order_items(product_id);

COMMIT;
