-- Drop indexes
DROP INDEX IF EXISTS idx_product_images_variant_id;

-- Drop tables
DROP TABLE IF EXISTS product_images;
DROP TABLE IF EXISTS product_variants;
