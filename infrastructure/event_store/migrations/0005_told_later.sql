-- The append function again: it does not tell those who wait for events, since commits that notify wait for each other and
-- take as long again. Its caller does, once for all that it appended in some milliseconds.

-- Appends many sets of events in one round trip; each set (append_no) lands whole or not at all, and fails alone.
--
-- Every writer takes the same lock before it reads the last position, so that positions are committed in order and a
-- reader that has seen a position never finds a lower one later. Row n of the event arrays gets last position + n.
--
-- Returns one row without append_no, whose last_position is the one before this batch, and one for each append that was
-- not appended now. outcome: repeated (the very same bytes stand there already) | conflict | held (a live process holds
-- one of the claims; holder names it) | again (another set of the same batch has the same id and version, or takes one of
-- the same claims: send it once more).
CREATE OR REPLACE FUNCTION events.append(
    append_nos int[], ids uuid[], versions bigint[], topics text[], states bytea[],
    payload_rows int[], parts text[], bodies bytea[], vector_blocks bytea[],
    taking int[], taken_keys text[], taken_holders uuid[], taking_process bigint,
    freeing int[], freed_keys text[], freed_holders uuid[]
) RETURNS TABLE (append_no int, last_position bigint, outcome text, holder uuid) LANGUAGE plpgsql
-- Each statement looks up as many keys as the batch has rows, whatever the planner believes of a table that grows.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    last_event record;
    base bigint;
    recorded timestamptz;
    refused int[] := '{}';
    contesting int[] := '{}';
    standing int[];
    taken record;
    found_claim record;
BEGIN
    PERFORM pg_advisory_xact_lock(7453, 1);
    SELECT e.notification_id, e.recorded_at INTO last_event
        FROM events.events e ORDER BY e.notification_id DESC LIMIT 1;
    base := coalesce(last_event.notification_id, 0);
    recorded := greatest(clock_timestamp(), last_event.recorded_at);

    append_no := NULL; last_position := base; outcome := 'appended'; holder := NULL;
    RETURN NEXT;

    IF cardinality(taking) > 0 THEN
        INSERT INTO events.claims
            SELECT t.key, t.claimant, taking_process FROM unnest(taken_keys, taken_holders) AS t (key, claimant)
            ON CONFLICT (key) DO NOTHING;
        contesting := ARRAY(
            SELECT t.no FROM unnest(taking, taken_keys, taken_holders) AS t (no, key, claimant)
            JOIN events.claims c ON c.key = t.key AND (c.holder <> t.claimant OR c.process <> taking_process)
        );
    END IF;
    IF cardinality(contesting) > 0 THEN
        -- What has landed before needs no claim any more: its bytes decide below.
        standing := ARRAY(
            SELECT n.no FROM unnest(append_nos, ids, versions) AS n (no, id, version)
            JOIN events.events e ON e.originator_id = n.id AND e.originator_version = n.version
            WHERE n.no = ANY (contesting)
        );
        FOR taken IN
            SELECT t.no, t.key, t.claimant FROM unnest(taking, taken_keys, taken_holders) AS t (no, key, claimant)
            JOIN events.claims c ON c.key = t.key AND (c.holder <> t.claimant OR c.process <> taking_process)
            WHERE t.no <> ALL (standing)
        LOOP
            CONTINUE WHEN taken.no = ANY (refused);  -- one claim that is held is enough, and is told once
            SELECT * INTO found_claim FROM events.claims c WHERE c.key = taken.key;
            CONTINUE WHEN found_claim.holder = taken.claimant AND found_claim.process = taking_process;
            -- Having the dead process's lock until the commit, we know that it can't come back meanwhile.
            IF found_claim.process <> taking_process AND pg_try_advisory_xact_lock(found_claim.process) THEN
                UPDATE events.claims c SET holder = taken.claimant, process = taking_process WHERE c.key = taken.key;
            ELSE
                refused := refused || taken.no;
                append_no := taken.no; last_position := NULL; holder := found_claim.holder;
                outcome := CASE WHEN found_claim.process = taking_process AND found_claim.holder = ANY (taken_holders)
                    THEN 'again' ELSE 'held' END;
                RETURN NEXT;
            END IF;
        END LOOP;
        -- All or nothing: who is refused one claim keeps none of the others.
        IF cardinality(refused) > 0 THEN
            DELETE FROM events.claims c
                USING unnest(taking, taken_keys, taken_holders) AS t (no, key, claimant)
                WHERE t.no = ANY (refused) AND c.key = t.key AND c.holder = t.claimant AND c.process = taking_process;
        END IF;
    END IF;

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
            RETURN NEXT;
            IF outcome <> 'repeated' THEN
                DELETE FROM events.claims c
                    USING unnest(taking, taken_keys, taken_holders) AS t (no, key, claimant)
                    WHERE t.no = append_no AND c.key = t.key AND c.holder = t.claimant;
            END IF;
        END LOOP;
        INSERT INTO events.events
            SELECT n.id, n.version, n.topic, n.state, base + n.row, recorded
            FROM unnest(ids, versions, topics, states, append_nos) WITH ORDINALITY
                AS n (id, version, topic, state, no, row)
            WHERE n.no <> ALL (refused);
    END;

    IF cardinality(payload_rows) > 0 THEN
        INSERT INTO events.payloads
            SELECT ids[p.at], versions[p.at], p.part, p.body, p.vectors
            FROM unnest(payload_rows, parts, bodies, vector_blocks) AS p (at, part, body, vectors)
            WHERE append_nos[p.at] <> ALL (refused);
    END IF;

    IF cardinality(freeing) > 0 THEN
        DELETE FROM events.claims c
            USING unnest(freeing, freed_keys, freed_holders) AS f (no, key, claimant)
            WHERE c.key = f.key AND c.holder = f.claimant AND f.no <> ALL (refused);
    END IF;
END
$$;
