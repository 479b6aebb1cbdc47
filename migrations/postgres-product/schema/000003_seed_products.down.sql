BEGIN;

-- Remove products (variants and images go with them)
DELETE FROM products WHERE sku IN ('TS-001', 'TS-002', 'MG-001');

-- Remove categories, children first
DELETE FROM categories WHERE slug IN ('t-shirts', 'mugs');
DELETE FROM categories WHERE slug IN ('clothing', 'home');

COMMIT;
