-- The bare query of the bulk work, by hand: the same exact casts, an id over the joined cells, the same settings; no
-- sandbox, no lineage beyond file and record, no fsync, no table format, no ledger. Statements end with a line of dashes.
CREATE TEMP TABLE staged AS
SELECT event_id, event_time, customer_id, device_id, site, category, quantity, unit_price, amount, temperature, status,
       note, md5_number(concat_ws(chr(31), coalesce(event_id, ''), coalesce(t1, ''), coalesce(t2, ''),
           coalesce(device_id, ''), coalesce(site, ''), coalesce(category, ''), coalesce(t6, ''), coalesce(t7, ''),
           coalesce(t8, ''), coalesce(t9, ''), coalesce(status, ''), coalesce(note, '')))::UUID AS row_id,
       CASE WHEN (event_time IS NULL OR event_time::VARCHAR <> t1 AND NOT t1 LIKE '____-__-__T__:__:__'
                  AND NOT regexp_full_match(t1, '\d{4}-\d\d-\d\d([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6}0*)?)?)?'))
              OR (customer_id IS NULL AND t2 IS NOT NULL)
              OR (customer_id::VARCHAR <> t2 AND NOT regexp_full_match(t2, '\s*[+-]?\d+(\.0*)?\s*'))
              OR (quantity IS NULL AND t6 IS NOT NULL)
              OR (quantity::VARCHAR <> t6 AND NOT regexp_full_match(t6, '\s*[+-]?\d+(\.0*)?\s*'))
              OR (unit_price IS NULL AND t7 IS NOT NULL) OR contains(t7, '_')
              OR (NOT isfinite(unit_price) AND NOT regexp_full_match(t7, '(?i)\s*[+-]?(nan|inf|infinity)\s*'))
              OR (amount IS NULL AND t8 IS NOT NULL) OR contains(t8, '_')
              OR (NOT isfinite(amount) AND NOT regexp_full_match(t8, '(?i)\s*[+-]?(nan|inf|infinity)\s*'))
              OR (temperature IS NULL AND t9 IS NOT NULL) OR contains(t9, '_')
              OR (NOT isfinite(temperature) AND NOT regexp_full_match(t9, '(?i)\s*[+-]?(nan|inf|infinity)\s*'))
            THEN [event_id, t1, t2, device_id, site, category, t6, t7, t8, t9, status, note] END AS bad
FROM (
    SELECT event_id, device_id, site, category, status, note, event_time AS t1, customer_id AS t2, quantity AS t6,
           unit_price AS t7, amount AS t8, temperature AS t9, TRY_CAST(t1 AS TIMESTAMP) AS event_time,
           TRY_CAST(t2 AS BIGINT) AS customer_id, TRY_CAST(t6 AS BIGINT) AS quantity, TRY_CAST(t7 AS DOUBLE) AS unit_price,
           TRY_CAST(t8 AS DOUBLE) AS amount, TRY_CAST(t9 AS DOUBLE) AS temperature
    FROM read_csv($source, auto_detect = false, header = true, delim = ',', quote = '"', escape = '"',
         store_rejects = true, columns = {'event_id': 'VARCHAR', 'event_time': 'VARCHAR', 'customer_id': 'VARCHAR',
         'device_id': 'VARCHAR', 'site': 'VARCHAR', 'category': 'VARCHAR', 'quantity': 'VARCHAR',
         'unit_price': 'VARCHAR', 'amount': 'VARCHAR', 'temperature': 'VARCHAR', 'status': 'VARCHAR', 'note': 'VARCHAR'})
);
----
CREATE TEMP TABLE contested AS
SELECT row_id, max(rowid) AS keep FROM staged WHERE bad IS NULL GROUP BY row_id HAVING count(*) > 1;
----
COPY (SELECT rowid + 1 AS _source_row, array_to_string(bad, ',') AS raw FROM staged WHERE bad IS NOT NULL)
TO $rejected (FORMAT parquet, COMPRESSION snappy);
----
COPY (
    SELECT s.* EXCLUDE (bad), s.rowid + 1 AS _source_row, 'events.csv' AS _source_file,
           year(event_time)::INTEGER AS year, month(event_time)::INTEGER AS month
    FROM staged s LEFT JOIN contested c USING (row_id)
    WHERE bad IS NULL AND (c.keep IS NULL OR c.keep = s.rowid)
) TO $data (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 122880, PARTITION_BY (year, month),
            WRITE_PARTITION_COLUMNS true);
