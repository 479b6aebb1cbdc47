-- Alone in its file: it locks nobody out, and cannot run inside a transaction
CREATE INDEX CONCURRENTLY idx_orders_open ON orders (status, created_at)
    WHERE status IN ('pending', 'paid', 'packed');
