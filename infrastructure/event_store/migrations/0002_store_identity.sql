-- Which store this is: what waits on a machine for one store is never appended to another.
CREATE TABLE events.store (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store_id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO events.store DEFAULT VALUES;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON events.store
    FOR EACH ROW EXECUTE FUNCTION events.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON events.store
    FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'study_app') THEN
        GRANT SELECT ON events.store TO study_app;
    END IF;
END
$$;
