INSERT INTO customer_order (customer) VALUES ('สมชาย');
INSERT INTO order_item (order_id, sku, quantity, price) SELECT id, 'tea', 2, 120.00 FROM customer_order;
