BEGIN;

-- Insert categories
INSERT INTO categories (name, slug, sort_order) VALUES
    ('เสื้อผ้า', 'clothing', 1),
    ('ของใช้ในบ้าน', 'home', 2)
ON CONFLICT (slug) DO NOTHING;

INSERT INTO categories (parent_id, name, slug, sort_order)
SELECT c.id, 'เสื้อยืด', 't-shirts', 1 FROM categories c WHERE c.slug = 'clothing'
ON CONFLICT (slug) DO NOTHING;

INSERT INTO categories (parent_id, name, slug, sort_order)
SELECT c.id, 'แก้วกาแฟ', 'mugs', 1 FROM categories c WHERE c.slug = 'home'
ON CONFLICT (slug) DO NOTHING;

-- Insert products; inventory and order refer to these ids
INSERT INTO products (id, category_id, sku, name, description, price, status)
SELECT p.id, c.id, p.sku, p.name, p.description, p.price, 'active'
FROM (VALUES
    (1, 't-shirts', 'TS-001', 'เสื้อยืดคอกลม', 'ผ้าฝ้าย 100%; ซักเครื่องได้', 290.00),
    (2, 't-shirts', 'TS-002', 'เสื้อโปโล', 'Men''s polo shirt', 450.00),
    (3, 'mugs', 'MG-001', 'แก้วเซรามิก', '350 ml', 180.00)
) AS p (id, category, sku, name, description, price)
JOIN categories c ON c.slug = p.category
ORDER BY p.id
ON CONFLICT (sku) DO NOTHING;

SELECT setval(pg_get_serial_sequence('products', 'id'), (SELECT max(id) FROM products));

-- Insert variants and images
INSERT INTO product_variants (product_id, sku, options, price_difference) VALUES
    (1, 'TS-001-S', '{"size": "S"}', 0),
    (1, 'TS-001-M', '{"size": "M"}', 0),
    (1, 'TS-001-XL', '{"size": "XL"}', 20)
ON CONFLICT (sku) DO NOTHING;

INSERT INTO product_images (product_id, url, alt_text, position) VALUES
    (1, '/images/ts-001/front.jpg', 'เสื้อยืดคอกลม ด้านหน้า', 0),
    (1, '/images/ts-001/back.jpg', 'เสื้อยืดคอกลม ด้านหลัง', 1),
    (3, '/images/mg-001/front.jpg', 'แก้วเซรามิก', 0)
ON CONFLICT (product_id, position) DO NOTHING;

COMMIT;
