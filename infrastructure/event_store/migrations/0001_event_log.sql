-- The event log: append-only, one total order, bodies beside their events.

CREATE SCHEMA events;

-- The columns that the eventsourcing library reads, and the time at which each event was recorded.
CREATE TABLE events.events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    topic text NOT NULL,
    state bytea NOT NULL,
    notification_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (originator_id, originator_version)
) WITH (autovacuum_analyze_scale_factor = 0.01);

CREATE UNIQUE INDEX events_notification_id_idx ON events.events (notification_id);

CREATE TABLE events.payloads (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    part text NOT NULL,
    body bytea,
    vectors bytea,
    PRIMARY KEY (originator_id, originator_version, part)
) WITH (autovacuum_analyze_scale_factor = 0.01);

-- Vectors don't compress; uncompressed they can be sliced without reading the whole block.
ALTER TABLE events.payloads ALTER COLUMN vectors SET STORAGE EXTERNAL;

-- Who has the sole right to do something. Worth nothing after a crash of the server, when every holder is gone.
CREATE UNLOGGED TABLE events.claims (
    key text PRIMARY KEY,
    holder uuid NOT NULL,
    process bigint NOT NULL
);

-- When a process was first seen to be gone. A second look decides.
CREATE TABLE events.process_looks (
    process bigint PRIMARY KEY,
    first_seen_dead_at timestamptz NOT NULL
);

CREATE FUNCTION events.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON events.events
    FOR EACH ROW EXECUTE FUNCTION events.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON events.events
    FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON events.payloads
    FOR EACH ROW EXECUTE FUNCTION events.refuse_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON events.payloads
    FOR EACH STATEMENT EXECUTE FUNCTION events.refuse_change();

-- A process is alive while its keeper holds the session advisory lock that is the process's number.
CREATE FUNCTION events.is_alive(process bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid = ((is_alive.process >> 32) & 4294967295)::oid
          AND objid = (is_alive.process & 4294967295)::oid
    )
$$;

-- Appends many sets of events in one round trip; each set (append_no) lands whole or not at all, and fails alone.
--
-- Every writer takes the same lock before it reads the last position, so that positions are committed in order and a
-- reader that has seen a position never finds a lower one later. Row n of the event arrays gets last position + n.
--
-- outcome: appended | repeated (the very same bytes stand there already) | conflict | held (a live process holds the
-- claim; holder names it) | again (another set of the same batch has the same id and version: send it once more).
CREATE FUNCTION events.append(
    append_nos int[], ids uuid[], versions bigint[], topics text[], states bytea[],
    payload_rows int[], parts text[], bodies bytea[], vector_blocks bytea[],
    taking int[], taken_keys text[], taken_holders uuid[], taking_process bigint,
    freeing int[], freed_keys text[], freed_holders uuid[]
) RETURNS TABLE (append_no int, last_position bigint, outcome text, holder uuid) LANGUAGE plpgsql AS $$
DECLARE
    last_event record;
    base bigint;
    recorded timestamptz;
    refused int[] := '{}';
    taken record;
    found_claim record;
BEGIN
    PERFORM pg_advisory_xact_lock(7453, 1);
    SELECT e.notification_id, e.recorded_at INTO last_event
        FROM events.events e ORDER BY e.notification_id DESC LIMIT 1;
    base := coalesce(last_event.notification_id, 0);
    recorded := greatest(clock_timestamp(), last_event.recorded_at);

    FOR taken IN SELECT * FROM unnest(taking, taken_keys, taken_holders) AS t (no, key, claimant) LOOP
        SELECT * INTO found_claim FROM events.claims c WHERE c.key = taken.key;
        IF NOT FOUND THEN
            INSERT INTO events.claims VALUES (taken.key, taken.claimant, taking_process);
        ELSIF found_claim.holder <> taken.claimant OR found_claim.process <> taking_process THEN
            IF events.is_alive(found_claim.process) THEN
                refused := refused || taken.no;
                append_no := taken.no; last_position := NULL; outcome := 'held'; holder := found_claim.holder;
                RETURN NEXT;
            ELSE
                UPDATE events.claims c SET holder = taken.claimant, process = taking_process WHERE c.key = taken.key;
            END IF;
        END IF;
    END LOOP;

    BEGIN
        INSERT INTO events.events
            SELECT n.id, n.version, n.topic, n.state, base + n.row, recorded
            FROM unnest(ids, versions, topics, states, append_nos) WITH ORDINALITY
                AS n (id, version, topic, state, no, row)
            WHERE n.no <> ALL (refused);
    EXCEPTION WHEN unique_violation THEN
        FOR append_no, last_position, outcome IN
            SELECT n.no, max(e.notification_id),
                CASE WHEN count(e.originator_id) = 0 THEN 'again'
                     WHEN count(*) = count(*) FILTER (WHERE e.topic = n.topic AND e.state = n.state) THEN 'repeated'
                     ELSE 'conflict' END
            FROM (
                SELECT u.*, row_number() OVER (PARTITION BY u.id, u.version ORDER BY u.row) AS turn
                FROM unnest(ids, versions, topics, states, append_nos) WITH ORDINALITY
                    AS u (id, version, topic, state, no, row)
                WHERE u.no <> ALL (refused)
            ) n
            LEFT JOIN events.events e ON e.originator_id = n.id AND e.originator_version = n.version
            GROUP BY n.no
            HAVING count(e.originator_id) > 0 OR max(n.turn) > 1
            ORDER BY n.no
        LOOP
            refused := refused || append_no;
            holder := NULL;
            IF outcome <> 'repeated' THEN
                DELETE FROM events.claims c
                    USING unnest(taking, taken_keys, taken_holders) AS t (no, key, claimant)
                    WHERE t.no = append_no AND c.key = t.key AND c.holder = t.claimant;
            END IF;
            RETURN NEXT;
        END LOOP;
        INSERT INTO events.events
            SELECT n.id, n.version, n.topic, n.state, base + n.row, recorded
            FROM unnest(ids, versions, topics, states, append_nos) WITH ORDINALITY
                AS n (id, version, topic, state, no, row)
            WHERE n.no <> ALL (refused);
    END;

    INSERT INTO events.payloads
        SELECT ids[p.at], versions[p.at], p.part, p.body, p.vectors
        FROM unnest(payload_rows, parts, bodies, vector_blocks) AS p (at, part, body, vectors)
        WHERE append_nos[p.at] <> ALL (refused);

    IF cardinality(freeing) > 0 THEN
        DELETE FROM events.claims c
            USING unnest(freeing, freed_keys, freed_holders) AS f (no, key, claimant)
            WHERE c.key = f.key AND c.holder = f.claimant AND f.no <> ALL (refused);
    END IF;

    RETURN QUERY
        SELECT n.no, base + max(n.row), 'appended'::text, NULL::uuid
        FROM unnest(append_nos) WITH ORDINALITY AS n (no, row)
        WHERE n.no <> ALL (refused) GROUP BY n.no;
    PERFORM pg_notify('study_events', '');
END
$$;

-- The last position recorded at or before a moment, by bisection: recorded_at never decreases along the positions.
CREATE FUNCTION events.position_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low bigint := 0;
    high bigint := (SELECT coalesce(max(e.notification_id), 0) FROM events.events e);
    probe record;
BEGIN
    WHILE low < high LOOP
        SELECT e.notification_id, e.recorded_at INTO probe FROM events.events e
            WHERE e.notification_id > (low + high) / 2 ORDER BY e.notification_id LIMIT 1;
        IF probe.recorded_at <= moment THEN
            low := probe.notification_id;
        ELSE
            high := (low + high) / 2;
        END IF;
    END LOOP;
    RETURN low;
END
$$;

-- The application reads and appends; it never owns the log.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'study_app') THEN
        GRANT USAGE ON SCHEMA events TO study_app;
        GRANT SELECT, INSERT ON events.events, events.payloads TO study_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON events.claims, events.process_looks TO study_app;
    END IF;
END
$$;
