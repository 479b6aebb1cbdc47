BEGIN;

-- Create order status history table
CREATE TABLE IF NOT EXISTS order_status_history (
    id BIGSERIAL PRIMARY KEY,
    order_id INTEGER NOT NULL REFERENCES orders(id) ON DELETE CASCADE,
    from_status order_status,
    to_status order_status NOT NULL,
    changed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT order_status_history_is_change CHECK (from_status IS DISTINCT FROM to_status)
);

CREATE INDEX idx_order_status_history_order_id ON order_status_history(order_id, changed_at);

-- Write the history whoever changes an order
CREATE FUNCTION record_order_status() RETURNS trigger
LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO order_status_history (order_id, to_status) VALUES (NEW.id, NEW.status);
    ELSIF NEW.status <> OLD.status THEN
        INSERT INTO order_status_history (order_id, from_status, to_status) VALUES (NEW.id, OLD.status, NEW.status);
    END IF;
    RETURN NULL;
END;
$body$;

CREATE TRIGGER orders_record_status
    AFTER INSERT OR UPDATE OF status ON orders
    FOR EACH ROW EXECUTE FUNCTION record_order_status();

COMMIT;
