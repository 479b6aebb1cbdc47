BEGIN;

-- Create users table
CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    email VARCHAR(255) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    last_login_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT users_email_format CHECK (email LIKE '%_@_%'),
    CONSTRAINT users_status_known CHECK (status IN ('pending', 'active', 'suspended', 'deleted'))
);

-- Create profiles table (one for each user)
CREATE TABLE IF NOT EXISTS profiles (
    user_id INTEGER PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
    display_name VARCHAR(100) NOT NULL,
    phone VARCHAR(32),
    birthday DATE CHECK (birthday > '1900-01-01'),
    language VARCHAR(10) NOT NULL DEFAULT 'th',
    avatar_url VARCHAR(1000),
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

-- Create indexes: an address counts once, however it is written
CREATE UNIQUE INDEX idx_users_email_lower ON users(lower(email));
CREATE INDEX idx_users_status ON users(status) WHERE status <> 'active';

COMMIT;
