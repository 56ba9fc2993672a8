"""What is known of each kind of thing, as of %(position)s, where `asked` names the things by k1, k2 and k3.

Each query gives asked.n, label, at, ended_at, position and actor; every further column is a fact.
"""

from domain.provenance import Kind
from projections.group_queries import GROUP, GROUPS
from projections.raw_calls import CALLS, END_COLUMNS, STATUS, TOKENS

PREVIEW_CHARACTERS = 200

_MASKED = ", ".join(
    [
        *(name for name in CALLS.columns if name not in END_COLUMNS and name != "in_doubt_position"),
        "CASE WHEN in_doubt_position <= %(position)s THEN in_doubt_position END AS in_doubt_position",
        *(f"CASE WHEN ended_position <= %(position)s THEN {name} END AS {name}" for name in END_COLUMNS),
    ]
)

NODES: dict[Kind, str] = {
    "cluster": """
        SELECT asked.n, coalesce(c.found ->> 'name', 'cluster ' || asked.k3) AS label, s.finished_at AS at,
            NULL::timestamptz AS ended_at, s.position, w.actor, asked.k2 AS k, asked.k3 AS cluster,
            c.found IS NOT NULL AS chosen, (c.found ->> 'size')::int AS size,
            c.found -> 'representatives' AS representatives, (c.found ->> 'fell_back')::boolean AS fell_back
        FROM asked
        JOIN projections.sweeps w ON w.sweep_id = asked.k1
        CROSS JOIN LATERAL (
            SELECT t.* FROM projections.sweep_steps t WHERE t.sweep_id = asked.k1 AND t.k = asked.k2
                AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1
        ) AS s
        LEFT JOIN LATERAL (
            SELECT e AS found FROM jsonb_array_elements(w.clusters) AS e
            WHERE w.finished_position <= %(position)s AND w.chosen_k = asked.k2 AND (e ->> 'cluster')::int = asked.k3
        ) AS c ON true
        WHERE asked.k3 < asked.k2
    """,
    "step": """
        SELECT asked.n, 'K = ' || s.k AS label, s.finished_at - make_interval(secs => s.duration_s) AS at,
            s.finished_at AS ended_at, s.position, w.actor, s.k, s.objective, s.iterations, s.converged,
            s.empty_clusters, s.silhouette, s.stability_ari_mean, s.stability_ari_std, s.dispersion, s.coverage,
            s.acc, s.nmi, s.ari, s.labels_sha256, s.centroids_sha256, s.best_restart, s.duration_s
        FROM asked
        JOIN projections.sweeps w ON w.sweep_id = asked.k1
        CROSS JOIN LATERAL (
            SELECT t.* FROM projections.sweep_steps t WHERE t.sweep_id = asked.k1 AND t.k = asked.k2
                AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1
        ) AS s
    """,
    "sweep": """
        SELECT asked.n, s.method || coalesce(' of ' || s.dataset_name, '') AS label, s.started_at AS at,
            CASE WHEN s.finished_position <= %(position)s THEN s.finished_at END AS ended_at,
            s.started_position AS position, s.actor, last.status, last.process, last.reason,
            CASE WHEN s.finished_position <= %(position)s THEN s.chosen_k END AS chosen_k,
            CASE WHEN s.finished_position <= %(position)s THEN s.chosen_by END AS chosen_by,
            CASE WHEN s.finished_position <= %(position)s THEN s.explanation END AS explanation,
            CASE WHEN s.finished_position <= %(position)s THEN s.duration_s END AS duration_s,
            CASE WHEN s.finished_position <= %(position)s THEN s.timings_s END AS timings_s,
            s.gather_duration_s, s.config, s.source, s.software, s.fingerprint, s.metadata
        FROM asked
        JOIN projections.sweeps s ON s.sweep_id = asked.k1 AND s.started_position <= %(position)s
        CROSS JOIN LATERAL (
            SELECT t.status, t.process, t.reason FROM projections.sweep_turns t
            WHERE t.sweep_id = s.sweep_id AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1
        ) AS last
    """,
    "artifact": """
        SELECT asked.n, a.name AS label, a.kept_at AS at, NULL::timestamptz AS ended_at, a.position, a.actor,
            a.artifact_type, a.sha256, a.byte_size, a.content_type, a.shape, a.metadata
        FROM asked JOIN projections.artifacts a ON a.artifact_id = asked.k1 AND a.position <= %(position)s
    """,
    "dataset": """
        SELECT asked.n, coalesce(g.name, nullif(d.source_name, ''), 'dataset') AS label, d.imported_at AS at,
            NULL::timestamptz AS ended_at, d.position, d.actor, d.source_name, d.row_count, d.skipped_rows, d.columns,
            d.text_column, d.label_column, d.content_sha256, d.sampling, d.metadata
        FROM asked JOIN projections.datasets d ON d.dataset_id = asked.k1 AND d.position <= %(position)s
        LEFT JOIN LATERAL (
            SELECT g.name FROM projections.groups g WHERE g.group_type = 'dataset'
                AND g.metadata ->> 'dataset_id' = d.dataset_id::text AND g.position <= %(position)s
            ORDER BY g.position LIMIT 1
        ) AS g ON true
    """,
    "vectors": """
        SELECT asked.n, coalesce(nullif(v.source_name, ''), 'vectors') AS label, v.imported_at AS at,
            NULL::timestamptz AS ended_at, v.position, v.actor, v.source_name, v.row_count, v.dimension,
            v.content_sha256, v.metadata
        FROM asked JOIN projections.vectors_imports v ON v.vectors_id = asked.k1 AND v.position <= %(position)s
    """,
    "group": f"""
        SELECT asked.n, g.group_type || '/' || g.name AS label, g.created_at AS at, NULL::timestamptz AS ended_at,
            g.position, g.actor, g.group_type, g.name, nullif(g.description, '') AS description, g.metadata
        FROM asked CROSS JOIN LATERAL (
            SELECT {GROUP} FROM {GROUPS} WHERE g.group_id = asked.k1 AND g.position <= %(position)s
        ) AS g
    """,  # noqa: S608 - our own names
    "embedding": """
        SELECT asked.n, c.provider || '/' || c.model || ', input ' || v.input_index AS label,
            NULL::timestamptz AS at, NULL::timestamptz AS ended_at, v.position, NULL::text AS actor, v.request_hash,
            c.provider, c.model, v.input_index, c.dimension, v.norm::float8 AS norm
        FROM asked
        JOIN projections.embedding_vectors v ON v.call_id = asked.k1 AND v.input_index = asked.k2
            AND v.position <= %(position)s
        JOIN projections.embedding_calls c ON c.call_id = v.call_id
    """,
    "text": f"""
        SELECT asked.n, 'text ' || left(asked.k1, 12) AS label, NULL::timestamptz AS at,
            NULL::timestamptz AS ended_at, first.position, NULL::text AS actor, asked.k1 AS request_hash,
            first.preview
        FROM asked
        CROSS JOIN LATERAL (
            (SELECT v.position, CASE WHEN c.request_is_json THEN left(
                convert_from(p.body, 'UTF8')::json -> 'input' ->> v.input_index, {PREVIEW_CHARACTERS}) END AS preview
            FROM projections.embedding_vectors v JOIN projections.calls c ON c.call_id = v.call_id
            LEFT JOIN events.payloads p ON p.originator_id = v.call_id AND p.originator_version = 1
                AND p.part = 'request'
            WHERE v.request_hash = asked.k1 AND v.position <= %(position)s ORDER BY v.position, v.input_index LIMIT 1)
            UNION ALL
            (SELECT c.requested_position, NULL FROM projections.calls c
            WHERE c.request_hash = asked.k1 AND c.requested_position <= %(position)s
            ORDER BY c.requested_position LIMIT 1)
            LIMIT 1
        ) AS first
    """,  # noqa: S608 - a number of our own
    "call": f"""
        SELECT asked.n, c.provider || '/' || c.model || ', ' || c.operation AS label, c.created_at AS at,
            c.ended_at, c.requested_position AS position, c.actor, {STATUS} AS status, c.operation, c.provider,
            c.endpoint, c.model, c.served_model, c.request_hash, c.sample_index, c.finish_reason, c.attempts,
            c.latency_ms, c.total_ms, {TOKENS} AS tokens, c.error, c.http_status, c.process, c.correlation_id,
            c.metadata, NULL::text AS how
        FROM asked
        JOIN LATERAL (SELECT {_MASKED} FROM projections.calls
            WHERE call_id = asked.k1 AND requested_position <= %(position)s) c ON true
        UNION ALL
        SELECT asked.n, h.provider || '/' || h.model || ', ' || h.how, h.created_at, NULL, h.position, h.actor,
            'answered by another call', NULL, h.provider, NULL, h.model, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, h.process, h.correlation_id, h.metadata, h.how
        FROM asked
        CROSS JOIN LATERAL (SELECT * FROM projections.shared_calls h WHERE h.call_id = asked.k1
            AND h.position <= %(position)s ORDER BY h.version DESC, h.place LIMIT 1) h
    """,  # noqa: S608 - our own names
    "attempt": """
        SELECT asked.n, 'attempt ' || a.attempt || ', ' || a.outcome AS label,
            a.at - make_interval(secs => a.latency_ms / 1000) AS at, a.at AS ended_at, a.position,
            NULL::text AS actor, a.attempt, a.outcome, a.latency_ms, a.first_token_ms, a.waits_seconds, a.error
        FROM asked JOIN projections.call_attempts a ON a.call_id = asked.k1 AND a.version = asked.k2
            AND a.position <= %(position)s
    """,
    "bytes": """
        SELECT asked.n, asked.k3 || ', ' || octet_length(p.body) || ' bytes' AS label, NULL::timestamptz AS at,
            NULL::timestamptz AS ended_at, e.position, NULL::text AS actor, p.part,
            octet_length(p.body) AS size, octet_length(p.vectors) AS vectors_size
        FROM asked
        JOIN LATERAL (
            SELECT c.requested_position AS position FROM projections.calls c
            WHERE c.call_id = asked.k1 AND asked.k2 = 1
            UNION ALL
            SELECT a.position FROM projections.call_attempts a WHERE a.call_id = asked.k1 AND a.version = asked.k2
        ) AS e ON e.position <= %(position)s
        JOIN events.payloads p ON p.originator_id = asked.k1 AND p.originator_version = asked.k2
            AND p.part = asked.k3
    """,
    "conversation": """
        SELECT asked.n, coalesce(c.title, first.opening, 'conversation') AS label, c.started_at AS at,
            CASE WHEN c.closed_position <= %(position)s THEN c.closed_at END AS ended_at,
            c.started_position AS position, c.actor, c.system, c.provider, c.model, c.temperature, c.max_tokens,
            c.seed, c.token_budget, c.at_turn, c.metadata
        FROM asked JOIN projections.conversations c ON c.conversation_id = asked.k1
            AND c.started_position <= %(position)s
        LEFT JOIN projections.conversation_turns first ON first.conversation_id = c.conversation_id
            AND first.turn = 1 AND first.position <= %(position)s
    """,
    "model": """
        SELECT asked.n, asked.k1 || '/' || asked.k2 AS label, NULL::timestamptz AS at, NULL::timestamptz AS ended_at,
            NULL::bigint AS position, NULL::text AS actor, asked.k1 AS provider, asked.k2 AS model
        FROM asked
        WHERE EXISTS (SELECT FROM projections.calls c WHERE c.provider = asked.k1 AND c.model = asked.k2
                AND c.requested_position <= %(position)s)
            OR EXISTS (SELECT FROM projections.sweeps s WHERE s.started_position <= %(position)s
                AND ((s.source ->> 'embedding_provider' = asked.k1 AND s.source ->> 'embedding_model' = asked.k2)
                    OR s.config ->> 'summarise' = asked.k1 || '/' || asked.k2))
    """,
}
