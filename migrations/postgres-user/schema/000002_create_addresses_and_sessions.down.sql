-- Drop tables (their indexes go with them)
DROP TABLE IF EXISTS sessions;
DROP TABLE IF EXISTS addresses;
