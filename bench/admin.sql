-- The rows for `python -m bench.admin`. :deliveries is their number; all other numbers are in proportion to it.
-- The newest delivery came just now, the oldest thirty days ago. Foreign keys are kept by what is written here.

SET session_replication_role = replica;

SELECT setseed(0.5);

CREATE TEMPORARY TABLE clients AS
SELECT row_number() OVER (ORDER BY created, prefix) AS n, 'key:' || client AS client FROM ingestion_apikey;

-- Uploads: one of 500 deliveries that is being worked on, one of 200 that has just gone wrong, one of 100, and small ones.
CREATE TEMPORARY TABLE files AS
SELECT u, CASE u WHEN 1 THEN 500 WHEN 2 THEN 200 WHEN 3 THEN 100 ELSE 10 END AS many,
    CASE u WHEN 1 THEN :deliveries - 20000 WHEN 2 THEN :deliveries - 1000 ELSE u * (:deliveries / 60) END AS first
FROM generate_series(1, 50) AS u;

INSERT INTO ingestion_upload (id, stream, client, name, format, size, sha256, fingerprint, kind, given, columns, reading,
    "offset", created_at, changed_at, finished_at)
SELECT u, 'sessions', (SELECT client FROM clients WHERE n = 1 + u % 10), 'sessions of school ' || u || '.csv', 'csv',
    many * 200000, md5(u::text) || md5(u::text),
    md5(u::text) || md5(u::text), '', '{}', '["session_id"]', '{}', many * 200000, at, at + interval '1 minute',
    CASE WHEN u <> 50 THEN at + interval '1 minute' END
FROM files, LATERAL (SELECT now() - (:deliveries - first) * (interval '30 days' / :deliveries) AS at) AS times;

-- One in 20 has held records, two in three of them two; one in 40 is made of held records. Of the newest every other
-- one is pending, one in a hundred of these failing.
INSERT INTO ingestion_delivery (id, stream, source, client, format, body, size, refused, count, received_at,
    processed_at, position, crash_count, failure_count, retry_at, last_error, inserted, updated, stale, held, skipped, request_hash,
    answer, idempotency_key)
SELECT i, stream, source, CASE WHEN source = 2 THEN client ELSE 'system' END,
    CASE WHEN source = 2 THEN 'json' ELSE 'held' END,
    convert_to(CASE WHEN source = 2
        THEN '[{"' || rtrim(stream, 's') || '_id": "' || left(stream, 1) || '-' || i || '", "subject": "'
            || repeat('Algebra ', 25) || '"}]'
        ELSE (SELECT json_agg(1 + (i * 7::bigint + k) % 90000) FROM generate_series(1, count) AS k)::text END, 'UTF8'),
    260, '[]', count, at, CASE WHEN NOT pending THEN at + interval '1 second' END, 0, 0, CASE WHEN bad THEN 3 ELSE 0 END,
    CASE WHEN bad THEN now() + interval '30 seconds' END,
    CASE WHEN bad THEN (ARRAY['store: canceling statement due to lock timeout', 'code: division by zero'])[1 + i / 2 % 2]
        ELSE '' END,
    CASE WHEN pending THEN 0 ELSE count - held - count / 20 END, CASE WHEN pending THEN 0 ELSE count / 20 END, 0, held,
    0, '', '', CASE WHEN i % 10 = 1 THEN 'batch-' || i END
FROM generate_series(1, :deliveries) AS i,
    LATERAL (SELECT
        (ARRAY['sessions', 'sessions', 'sessions', 'sessions', 'sessions', 'feedback', 'feedback', 'feedback', 'tutors',
            'students'])[1 + i * 7919::bigint / 20 % 10] AS stream,
        CASE WHEN i % 40 = 3 THEN 0 WHEN i % 400 = 13 THEN 1 ELSE 2 END AS source,
        (ARRAY(SELECT client FROM clients ORDER BY n))[1 + floor(50 * power(random() + i * 0, 2))] AS client,
        now() - (:deliveries - i) * (interval '30 days' / :deliveries) AS at,
        i % 2 = 0 AND i > :deliveries - :deliveries / 25 AS pending,
        i % 200 = 0 AND i > :deliveries - :deliveries / 25 AS bad,
        CASE WHEN i % 20 <> 7 THEN 0 WHEN i / 20 % 5 < 3 THEN 2 ELSE 1 END AS held,
        CASE WHEN i % 10 = 0 THEN 500 WHEN i % 20 = 7 THEN 20 WHEN i % 400 = 13 THEN 1000 ELSE 1 END AS count) AS made;

UPDATE ingestion_delivery SET upload_id = u, stream = 'sessions', source = 2, format = 'ndjson', count = 2000,
    first_row = 1 + 2000 * (id - first), body = convert_to(repeat('{"session_id": "s-0", "subject": "Algebra"}' || chr(10), 2000), 'UTF8'),
    size = 88000, last_error = '', retry_at = NULL, failure_count = 0,
    processed_at = CASE WHEN u = 1 AND id >= first + 250 THEN NULL ELSE received_at + interval '1 second' END,
    inserted = CASE WHEN u = 1 AND id >= first + 250 THEN 0 WHEN u = 2 THEN 1900 ELSE 2000 END,
    updated = 0, stale = 0, held = CASE WHEN u = 2 THEN 100 ELSE 0 END, idempotency_key = NULL
FROM files WHERE id >= first AND id < first + many;

UPDATE ingestion_delivery SET body = convert_to(repeat(md5(id::text), 150000), 'UTF8'), size = 4800000
WHERE id IN (1000, 500000, :deliveries - 10);

SELECT setval(pg_get_serial_sequence('ingestion_delivery', 'id'), :deliveries);

SELECT setval(pg_get_serial_sequence('ingestion_upload', 'id'), 50);

-- Held records. Of those that are no upload's: half dead, three eighths waiting, one eighth closed.
INSERT INTO enrichment_heldrecord (stream, key, client, delivery_id, position, received_at, version_at, payload,
    original_payload, payload_version, status, stage, code, messages, message, missing_stream, missing_key,
    held_at, waiting_since, changed_at, attempts, queued_in, resolved_by, outcome, discard_reason)
SELECT stream, CASE WHEN n % 20 = 9 THEN '' ELSE left(stream, 1) || '-' || 1 + n * 31 % 90000 END, client, delivery, place,
    at, at,
    '{"' || stream || '_id": "' || left(stream, 1) || '-' || 1 + n * 31 % 90000 || '", "duration_minutes": '
        || n % 400 || ', "notes": "' || notes || '"}',
    CASE WHEN n % 50 = 1 THEN '{"as": "sent"}' END, CASE WHEN n % 50 = 1 THEN 1 ELSE 0 END, status,
    CASE code WHEN 'enrich_error' THEN 'enrich' WHEN 'conflict' THEN 'upsert' WHEN 'constraint' THEN 'upsert'
        WHEN 'unstorable' THEN 'upsert' ELSE 'validate' END,
    code, CASE WHEN code = 'missing_reference' THEN '{"tutor_id": ["tutor lost-1 does not exist (yet)"]}'::jsonb
        ELSE '{"duration_minutes": ["must be at most 300; got 301"], "subject": ["is required"]}'::jsonb END,
    CASE WHEN code = 'missing_reference' THEN 'tutor_id: tutor does not exist (yet)'
        ELSE 'duration_minutes: must be at most ' || 300 + n % 40 END,
    CASE WHEN code = 'missing_reference' THEN (ARRAY['tutors', 'students'])[1 + missing % 2] ELSE '' END,
    CASE WHEN code = 'missing_reference' THEN 'lost-' || missing ELSE '' END, at,
    CASE WHEN status = 'waiting' THEN at END, at, 1 + n % 3,
    CASE WHEN n % 300 = 5 AND status = 'dead' THEN :deliveries - 2 * (n % 100) END,
    CASE WHEN status = 'resolved' THEN delivery + 1 END, CASE WHEN status = 'resolved' THEN 'inserted' ELSE '' END,
    CASE WHEN status = 'discarded' THEN 'sent by mistake' ELSE '' END
FROM (SELECT row_number() OVER (ORDER BY d.id, place) AS n, d.id AS delivery, d.upload_id AS upload, place, d.stream,
        d.client, d.processed_at AS at
    FROM ingestion_delivery AS d, generate_series(0, d.held - 1) AS place WHERE d.held > 0) AS found,
    LATERAL (SELECT CASE WHEN upload = 2 THEN 'dead' ELSE (ARRAY['dead', 'waiting', 'dead', 'waiting', 'dead', 'waiting',
        'dead', (ARRAY['resolved', 'discarded'])[1 + n / 8 % 2]])[1 + n % 8] END AS status) AS one,
    LATERAL (SELECT CASE WHEN status = 'waiting' THEN 'missing_reference' WHEN upload = 2 THEN 'invalid' ELSE
        (ARRAY['invalid', 'invalid', 'invalid', 'invalid', 'missing_reference', 'missing_reference', 'constraint',
            'conflict', 'enrich_error', 'too_large', 'crashed_worker', 'unstorable'])[1 + n / 2 % 12] END AS code,
        CASE WHEN n / 2 % 6 = 0 THEN 0 ELSE 1 + n * 7919::bigint % 1999 END AS missing,
        (SELECT string_agg(md5((n * 60 + part)::text), ' ')
            FROM generate_series(1, CASE WHEN n % 5000 = 7 THEN 31000 ELSE 8 + n % 50 END) AS part) AS notes) AS two
ORDER BY n;

INSERT INTO enrichment_failure (held_id, delivery, at, stage, code, messages, code_version, traceback)
SELECT id, delivery_id, held_at + attempt * interval '1 second', stage, code, messages, '0.1.0',
    CASE code WHEN 'enrich_error' THEN repeat('  File "rules.py", line 1, in enrich' || chr(10), 20) ELSE '' END
FROM enrichment_heldrecord, generate_series(1, attempts) AS attempt ORDER BY id, attempt;

-- What is stored. The first tutor has one session in fifteen, the first student 500.
INSERT INTO tutoring_tutor (tutor_id, name, email, subjects, onboarding_date, status, subject_type, behavioral_archetype,
    tenure_days, is_new_tutor, experience_level, subject_count, is_active_today, derived_on, version_at, delivery,
    position, warnings, stored_at)
SELECT 't-' || i, 'Tutor ' || i, 't' || i || '@example.com', '["Algebra"]', now() - i % 800 * interval '1 day',
    (ARRAY['active', 'active', 'inactive', 'churned'])[1 + i % 4], (ARRAY['STEM', 'Language', NULL])[1 + i % 3],
    (ARRAY['steady', 'at_risk', NULL])[1 + i % 3], i % 800, i % 800 < 30,
    CASE WHEN i % 800 < 90 THEN 'junior' WHEN i % 800 > 365 THEN 'senior' ELSE 'mid' END, 1, i % 20 = 0, current_date,
    now(), i, 0, CASE WHEN i % 40 = 0 THEN '["odd"]'::jsonb ELSE '[]'::jsonb END, now() - i * interval '1 minute'
FROM generate_series(1, :deliveries / 200) AS i;

INSERT INTO tutoring_student (student_id, name, age, grade_level, is_stub, version_at, delivery, position, warnings,
    stored_at)
SELECT 'st-' || i, CASE WHEN i % 100 <> 0 THEN 'Student ' || i ELSE '' END, 6 + i % 12, 'grade ' || 1 + i % 12,
    i % 100 = 0, now(), i, 0, '[]', now() - i * interval '1 minute'
FROM generate_series(1, :deliveries / 20) AS i;

INSERT INTO tutoring_tutoringsession (session_id, tutor_id, student_id, scheduled_start, duration_minutes, subject,
    session_number, is_first_session, no_show, actual_start, actual_end, session_type, tutor_initiated_reschedule,
    late_start_minutes, engagement_score, technical_issues, updated_at, scheduled_offset, is_weekend, time_of_day,
    is_late_start, actual_duration_minutes, week_of_year, month_of_year,
    version_at, delivery, position, warnings, stored_at)
SELECT 's-' || i, 't-' || CASE WHEN i % 15 = 0 THEN 1 ELSE 1 + i * 7919::bigint % (:deliveries / 200) END,
    'st-' || CASE WHEN i % 600 = 0 THEN 1 ELSE 1 + i * 104729::bigint % (:deliveries / 20) END, t, 60,
    (ARRAY['Algebra', 'Physics', 'English', 'SAT Prep', 'French'])[1 + i % 5],
    1 + i % 40, i % 40 = 0, no_show, CASE WHEN NOT no_show THEN t END,
    CASE WHEN NOT no_show THEN t + interval '60 minutes' END,
    CASE WHEN i % 100 = 0 THEN 'workshop' WHEN i % 10 = 0 THEN 'group' ELSE '1-on-1' END, i % 50 = 0,
    i % 13, CASE WHEN NOT no_show THEN (i % 100) / 100.0 END, i % 30 = 0, t + interval '2 hours', 0,
    extract(isodow FROM t) > 5, (ARRAY['morning', 'afternoon', 'evening', 'night'])[1 + i % 4],
    i % 13 > 5, CASE WHEN NOT no_show THEN 60 END, extract(week FROM t), extract(month FROM t),
    t + interval '2 hours', 1 + i % (:deliveries - 1), 0,
    CASE WHEN i % 10000 = 0 THEN '["odd"]'::jsonb ELSE '[]'::jsonb END,
    now() - (:deliveries / 10 * 3 - i) * interval '8 seconds'
FROM generate_series(1, :deliveries / 10 * 3) AS i,
    LATERAL (SELECT now() - interval '700 days' + (i * 7919::bigint % 1000000) * interval '1 minute' AS t,
        i % 33 = 0 AS no_show) AS made;

INSERT INTO tutoring_feedback (feedback_id, session_id, tutor_id, student_id, overall_rating, submitted_at,
    subject_knowledge_rating, is_first_session, free_text_feedback, would_recommend, is_positive, is_poor,
    avg_category_rating, category_variance, has_text_feedback, feedback_delay_hours, session_start_used,
    version_at, delivery, position, warnings, stored_at)
SELECT 'f-' || substr(session_id, 3), session_id, tutor_id, student_id, rating, scheduled_start + interval '2 hours',
    rating, is_first_session, CASE WHEN rating < 3 THEN repeat('It could have been better. ', 10) END, rating > 2,
    rating > 3, rating < 3, rating, 0, rating < 3, 2, scheduled_start, version_at, delivery, 1,
    CASE WHEN session_number = 39 AND rating = 1 THEN '["odd"]'::jsonb ELSE '[]'::jsonb END, stored_at
FROM tutoring_tutoringsession,
    LATERAL (SELECT CASE WHEN session_number % 10 = 0 THEN 1 + session_number / 10 % 2 ELSE 3 + session_number % 3 END
        AS rating) AS made
WHERE substr(session_id, 3)::int % 6 <> 0;

-- What was processed: two days by minute, sixty by day.
INSERT INTO enrichment_minutestat (minute, stream, inserted, updated, stale, waiting, dead, within_250ms, within_500ms,
    within_1s, within_2s, within_5s, within_10s, within_30s, within_1m, within_5m, within_30m, within_1h, over_1h, seconds)
SELECT minute, stream, 500, 20, 10, 2, 4, 100, 200, 150, 50, 20, 5, 5, 2, 2, 1, 1, 0, 300
FROM unnest(ARRAY['tutors', 'students', 'sessions', 'feedback']) AS stream,
    LATERAL (SELECT date_trunc('minute', now()) - i * interval '1 minute' AS minute FROM generate_series(0, 2880) AS i
        UNION ALL SELECT date_trunc('day', now(), 'UTC') - i * interval '1 day' FROM generate_series(4, 63) AS i) AS minutes;

-- Acts: 500 bulk actions, ten of them of 50 deliveries each and three not done, and who did what.
INSERT INTO enrichment_bulkaction (id, kind, by, user_id, filter, change, reason, total, count, at, up_to, reached,
    finished_at, last_error)
SELECT i, kind, 'user:bench', (SELECT min(id) FROM auth_user),
    CASE WHEN many > 1 THEN '{"status": "dead", "code": "invalid"}'::jsonb
        ELSE jsonb_build_object('ids', jsonb_build_array(i, i + 1, i + 2)) END,
    CASE kind WHEN 'fix' THEN '{"do": "set", "field": "duration_minutes", "value": "60"}'::jsonb ELSE '{}' END,
    CASE kind WHEN 'discard' THEN 'sent by mistake' ELSE '' END, many * 1000, many * 1000,
    now() - (500 - i) * interval '1 hour', i * 100, i * 100,
    CASE WHEN i NOT IN (490, 495, 500) THEN now() - (500 - i) * interval '1 hour' + interval '1 minute' END, ''
FROM generate_series(1, 500) AS i,
    LATERAL (SELECT CASE WHEN i % 50 = 0 THEN 50 ELSE 1 END AS many,
        CASE WHEN i % 50 = 0 THEN 'reprocess' ELSE (ARRAY['reprocess', 'reprocess', 'discard', 'fix'])[1 + i % 4] END
            AS kind) AS made;

INSERT INTO enrichment_bulkaction_deliveries (bulkaction_id, delivery_id)
SELECT bulk_action, delivery FROM
    (SELECT r.id AS bulk_action, row_number() OVER (ORDER BY r.id, n) AS place
        FROM enrichment_bulkaction AS r, generate_series(1, r.total / 1000) AS n WHERE r.kind = 'reprocess') AS wanted
    JOIN (SELECT id AS delivery, row_number() OVER (ORDER BY id) AS place FROM ingestion_delivery WHERE source = 1)
        AS found USING (place);

SELECT setval(pg_get_serial_sequence('enrichment_bulkaction', 'id'), 500);

INSERT INTO enrichment_pruning (by, before, started_at, changed_at, finished_at, reached, deleted)
SELECT 'schedule', now() - (30 + i) * interval '1 day', now() - i * interval '1 day',
    now() - i * interval '1 day' + interval '1 minute', now() - i * interval '1 day' + interval '1 minute', '{}',
    '{"deliveries": 12345, "held records": 77}'
FROM generate_series(0, 199) AS i;

INSERT INTO django_admin_log (action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message)
SELECT now() - i * interval '10 minutes', (SELECT min(id) + i % 2 FROM auth_user),
    (SELECT id FROM django_content_type WHERE app_label = 'enrichment'
        AND model = (ARRAY['heldrecord', 'bulk_action'])[1 + i % 2]),
    CASE i % 2 WHEN 0 THEN 1 + i % 500 ELSE 1 + i % 500 END, 'sessions s-' || i, 2, 'Requeued: 1 failed record.'
FROM generate_series(1, 5000) AS i;

INSERT INTO django_q_task (id, name, func, started, stopped, success, attempt_count, result)
SELECT md5(i::text), 'task ' || i, 'enrichment.tasks.drain', now() - i * interval '1 minute',
    now() - i * interval '1 minute', i % 10 <> 0, 1, NULL
FROM generate_series(1, 500) AS i;

INSERT INTO axes_accessattempt (user_agent, ip_address, username, http_accept, path_info, attempt_time, get_data,
    post_data, failures_since_start)
SELECT 'curl', ('10.0.' || i / 250 || '.' || i % 250)::inet, 'root', '*/*', '/admin/login/', now() - i * interval '1 minute',
    '', '', 1 + i % 10
FROM generate_series(1, 5000) AS i;

INSERT INTO axes_accesslog (user_agent, ip_address, username, http_accept, path_info, attempt_time, session_hash)
SELECT 'curl', ('10.0.' || i / 250 || '.' || i % 250)::inet, 'root', '*/*', '/admin/login/', now() - i * interval '1 minute', ''
FROM generate_series(1, 20000) AS i;

INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT '!', false, 'person ' || i, '', '', '', true, true, now() FROM generate_series(1, 200) AS i;

INSERT INTO ingestion_doorbell (id, rung_at, answered_at) VALUES (1, now(), now())
ON CONFLICT (id) DO UPDATE SET answered_at = now();

SET session_replication_role = origin;

VACUUM ANALYZE;
