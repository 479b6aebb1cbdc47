-- What is there before the files of lint_corpus.txt, with rows, so that a server can be asked what a file does.
CREATE SCHEMA app;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN plain_text AS text;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE customers (
    id bigint PRIMARY KEY, name text NOT NULL, email varchar(100), phone varchar(20), created timestamp NOT NULL DEFAULT now(),
    updated timestamptz, balance numeric(10, 2), data json, doc jsonb, active boolean, code char(10), age int, small smallint,
    net cidr, bits varbit(8), precise timestamp(3), kind int
);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint CONSTRAINT orders_customer_fk REFERENCES customers, total int, state text DEFAULT 'new',
    note text, placed timestamptz, ref varchar(50), qty int NOT NULL DEFAULT 1, CONSTRAINT orders_ref_known CHECK (ref IS NOT NULL)
);
CREATE INDEX orders_state ON orders (state);
CREATE UNIQUE INDEX orders_ref ON orders (ref);
CREATE TABLE items (id bigserial PRIMARY KEY, order_id bigint, sku text, amount int);
ALTER TABLE items ADD CONSTRAINT items_order_fk FOREIGN KEY (order_id) REFERENCES orders (id);
ALTER TABLE items ADD CONSTRAINT items_amount CHECK (amount > 0) NOT VALID;
CREATE TABLE people (id int PRIMARY KEY, m mood, nick plain_text, score positive);
CREATE TABLE settings (key text NOT NULL, value text);
CREATE UNIQUE INDEX settings_key ON settings (key);
CREATE UNIQUE INDEX settings_value ON settings (value);
CREATE TABLE events (id bigint, at date NOT NULL, body text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE logs (id bigint, level int NOT NULL) PARTITION BY LIST (level);
CREATE TABLE logs_other PARTITION OF logs DEFAULT;
CREATE TABLE events_new (id bigint, at date NOT NULL, body text);
CREATE TABLE events_checked (
    id bigint, at date NOT NULL, body text, CONSTRAINT bounds CHECK (at >= '2027-01-01' AND at < '2028-01-01')
);
CREATE TABLE app.jobs (id int PRIMARY KEY, payload text);
CREATE TABLE "Mixed Case" (id int PRIMARY KEY, "drop table" text);
CREATE VIEW big_orders AS SELECT id, total FROM orders WHERE total > 100;
CREATE VIEW bigger_orders AS SELECT id FROM big_orders WHERE total > 1000;
CREATE MATERIALIZED VIEW sales AS SELECT state, count(*) AS n FROM orders GROUP BY state;
CREATE UNIQUE INDEX sales_state ON sales (state);
CREATE FUNCTION ticket() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 7; END $$;
CREATE FUNCTION ticket_stable() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 7; END $$;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE SEQUENCE numbers;
INSERT INTO customers (id, name) SELECT n, 'n' FROM generate_series(1, 200) n;
INSERT INTO orders (id, customer_id, total, ref) SELECT n, n, 200, n::text FROM generate_series(1, 200) n;
INSERT INTO items (order_id, amount) SELECT n, 1 FROM generate_series(1, 200) n;
INSERT INTO people SELECT n, 'ok', 'n', 1 FROM generate_series(1, 200) n;
INSERT INTO settings SELECT n::text, n::text FROM generate_series(1, 200) n;
INSERT INTO events SELECT n, '2025-06-01' FROM generate_series(1, 200) n;
INSERT INTO logs SELECT n, 9 FROM generate_series(1, 200) n;
INSERT INTO events_new SELECT n, '2026-06-01' FROM generate_series(1, 200) n;
INSERT INTO events_checked SELECT n, '2027-06-01' FROM generate_series(1, 200) n;
INSERT INTO app.jobs SELECT n FROM generate_series(1, 200) n;
INSERT INTO "Mixed Case" SELECT n FROM generate_series(1, 200) n;
