-- Remove users (profiles, addresses and sessions go with them)
DELETE FROM users WHERE lower(email) IN ('somchai@example.com', 'malee@example.com', 'demo@example.com');
