DROP TRIGGER add_to_totals;
DROP TABLE totals;
