BEGIN;

-- Insert users; order refers to these ids. '!' is no hash: nobody can log in with it
INSERT INTO users (id, email, password_hash, status) VALUES
    (1, 'somchai@example.com', '!', 'active'),
    (2, 'malee@example.com', '!', 'active'),
    (3, 'demo@example.com', '!', 'pending')
ON CONFLICT (lower(email)) DO NOTHING;

SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT max(id) FROM users));

-- Insert profiles
INSERT INTO profiles (user_id, display_name, phone, language)
SELECT u.id, p.display_name, p.phone, p.language
FROM (VALUES
    ('somchai@example.com', 'สมชาย ใจดี', '+66 81 000 0001', 'th'),
    ('malee@example.com', 'มาลี รักไทย', '+66 81 000 0002', 'th'),
    ('demo@example.com', 'Demo', NULL, 'en')
) AS p (email, display_name, phone, language)
JOIN users u ON lower(u.email) = p.email
ON CONFLICT (user_id) DO NOTHING;

-- Insert addresses
INSERT INTO addresses (user_id, recipient, line1, district, province, postal_code, is_default)
SELECT u.id, 'สมชาย ใจดี', '99/1 ถนนสุขุมวิท', 'วัฒนา', 'กรุงเทพมหานคร', '10110', TRUE
FROM users u WHERE lower(u.email) = 'somchai@example.com'
ON CONFLICT (user_id) WHERE is_default DO NOTHING;

COMMIT;
