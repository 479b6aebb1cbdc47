BEGIN;

-- Drop tables (their indexes go with them)
DROP TABLE IF EXISTS products;
DROP TABLE IF EXISTS categories;

COMMIT;
