DELETE FROM customer_order WHERE customer = 'สมชาย';
