BEGIN;

-- Drop indexes
DROP INDEX IF EXISTS idx_users_status;
DROP INDEX IF EXISTS idx_users_email_lower;

-- Drop tables
DROP TABLE IF EXISTS profiles;
DROP TABLE IF EXISTS users;

COMMIT;
