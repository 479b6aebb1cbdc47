DROP TABLE order_item;
DROP TABLE customer_order;
