DROP TRIGGER IF EXISTS profiles_set_updated_at ON profiles;
DROP TRIGGER IF EXISTS users_set_updated_at ON users;

DROP FUNCTION IF EXISTS set_updated_at();
