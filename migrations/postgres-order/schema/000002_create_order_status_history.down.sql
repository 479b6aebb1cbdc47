BEGIN;

DROP TRIGGER IF EXISTS orders_record_status ON orders;
DROP FUNCTION IF EXISTS record_order_status();

DROP TABLE IF EXISTS order_status_history;

COMMIT;
