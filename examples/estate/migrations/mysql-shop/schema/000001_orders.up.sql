CREATE TABLE orders (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    account BIGINT NOT NULL,
    total DECIMAL(12, 2) NOT NULL,
    KEY idx_orders_account (account)
);
