-- Remove orders (items and history go with them)
DELETE FROM orders WHERE order_number IN ('SO-2024-000001', 'SO-2024-000002');
