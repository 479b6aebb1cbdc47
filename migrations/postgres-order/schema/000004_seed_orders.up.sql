BEGIN;

-- Insert orders of users 1 and 2
INSERT INTO orders (order_number, user_id, status, shipping_address) VALUES
    ('SO-2024-000001', 1, 'paid', '{"recipient": "สมชาย ใจดี", "province": "กรุงเทพมหานคร", "postal_code": "10110"}'),
    ('SO-2024-000002', 2, 'pending', '{"recipient": "มาลี รักไทย", "province": "เชียงใหม่", "postal_code": "50000"}')
ON CONFLICT (order_number) DO NOTHING;

-- Insert order items of products 1 and 3
INSERT INTO order_items (order_id, product_id, sku, product_name, quantity, unit_price)
SELECT o.id, i.product_id, i.sku, i.product_name, i.quantity, i.unit_price
FROM (VALUES
    ('SO-2024-000001', 1, 'TS-001-M', 'เสื้อยืดคอกลม', 2, 290.00),
    ('SO-2024-000001', 3, 'MG-001', 'แก้วเซรามิก', 1, 180.00),
    ('SO-2024-000002', 1, 'TS-001-XL', 'เสื้อยืดคอกลม', 1, 310.00)
) AS i (order_number, product_id, sku, product_name, quantity, unit_price)
JOIN orders o ON o.order_number = i.order_number
ORDER BY o.order_number, i.sku
ON CONFLICT (order_id, sku) DO NOTHING;

UPDATE orders o
SET total = (SELECT sum(i.line_total) FROM order_items i WHERE i.order_id = o.id)
WHERE o.order_number IN ('SO-2024-000001', 'SO-2024-000002');

COMMIT;
