-- The bare query of the bulk work, by hand: the same exact casts, the same id, the same settings; no sandbox, no lineage
-- beyond file and record, no fsync, no table format, no ledger. Sections end with a line of dashes.
CREATE TEMP TABLE staged AS
SELECT event_id, event_time, customer_id, device_id, site, category, quantity, unit_price, amount, temperature, status, note, row_id,
       (customer_id IS NULL AND t_customer_id IS NOT NULL)::INT + 2 * (quantity IS NULL AND t_quantity IS NOT NULL)::INT
       + 4 * (unit_price IS NULL AND t_unit_price IS NOT NULL)::INT + 8 * (amount IS NULL AND t_amount IS NOT NULL)::INT
       + 16 * (temperature IS NULL AND t_temperature IS NOT NULL)::INT + 32 * (event_time IS NULL)::INT AS bad,
       CASE WHEN bad <> 0 THEN [event_id, t_event_time, t_customer_id, device_id, site, category, t_quantity,
           t_unit_price, t_amount, t_temperature, status, note] END AS cells
FROM (
    SELECT event_id, device_id, site, category, status, note, t_event_time, t_customer_id, t_quantity, t_unit_price, t_amount,
           t_temperature,
           CASE WHEN v_event_time::VARCHAR = t_event_time THEN v_event_time
                WHEN regexp_full_match(t_event_time, '\d{4}-\d\d-\d\d([ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6}0*)?)?)?')
                THEN v_event_time END AS event_time,
           CASE WHEN v_customer_id::VARCHAR = t_customer_id THEN v_customer_id
                WHEN regexp_full_match(t_customer_id, '\s*[+-]?\d+(\.0*)?\s*') THEN v_customer_id END AS customer_id,
           CASE WHEN v_quantity::VARCHAR = t_quantity THEN v_quantity
                WHEN regexp_full_match(t_quantity, '\s*[+-]?\d+(\.0*)?\s*') THEN v_quantity END AS quantity,
           CASE WHEN isfinite(v_unit_price) AND NOT contains(t_unit_price, '_') THEN v_unit_price
                WHEN regexp_full_match(t_unit_price, '\s*[+-]?(nan|inf|infinity)\s*', 'i') THEN v_unit_price END AS unit_price,
           CASE WHEN isfinite(v_amount) AND NOT contains(t_amount, '_') THEN v_amount
                WHEN regexp_full_match(t_amount, '\s*[+-]?(nan|inf|infinity)\s*', 'i') THEN v_amount END AS amount,
           CASE WHEN isfinite(v_temperature) AND NOT contains(t_temperature, '_') THEN v_temperature
                WHEN regexp_full_match(t_temperature, '\s*[+-]?(nan|inf|infinity)\s*', 'i') THEN v_temperature END AS temperature,
           md5(concat(concat_ws(',', coalesce(strlen(event_id), 0), coalesce(strlen(t_event_time), 0),
               coalesce(strlen(t_customer_id), 0), coalesce(strlen(device_id), 0), coalesce(strlen(site), 0),
               coalesce(strlen(category), 0), coalesce(strlen(t_quantity), 0), coalesce(strlen(t_unit_price), 0),
               coalesce(strlen(t_amount), 0), coalesce(strlen(t_temperature), 0), coalesce(strlen(status), 0),
               coalesce(strlen(note), 0)), '|', event_id, t_event_time, t_customer_id, device_id, site, category, t_quantity,
               t_unit_price, t_amount, t_temperature, status, note))::UUID AS row_id
    FROM (
        SELECT event_id, device_id, site, category, status, note, event_time AS t_event_time, customer_id AS t_customer_id,
               quantity AS t_quantity, unit_price AS t_unit_price, amount AS t_amount, temperature AS t_temperature,
               TRY_CAST(event_time AS TIMESTAMP) AS v_event_time, TRY_CAST(customer_id AS BIGINT) AS v_customer_id,
               TRY_CAST(quantity AS BIGINT) AS v_quantity, TRY_CAST(unit_price AS DOUBLE) AS v_unit_price,
               TRY_CAST(amount AS DOUBLE) AS v_amount, TRY_CAST(temperature AS DOUBLE) AS v_temperature
        FROM read_csv($source, auto_detect = false, header = true, delim = ',', quote = '"', escape = '"',
             store_rejects = true, columns = {'event_id': 'VARCHAR', 'event_time': 'VARCHAR', 'customer_id': 'VARCHAR',
             'device_id': 'VARCHAR', 'site': 'VARCHAR', 'category': 'VARCHAR', 'quantity': 'VARCHAR', 'unit_price': 'VARCHAR',
             'amount': 'VARCHAR', 'temperature': 'VARCHAR', 'status': 'VARCHAR', 'note': 'VARCHAR'})
    )
);
----
CREATE TEMP TABLE contested AS
SELECT row_id, max(rowid) AS keep FROM staged WHERE bad = 0 GROUP BY row_id HAVING count(*) > 1;
----
COPY (SELECT rowid + 1 AS _source_row, bad, array_to_string(cells, ',') AS raw FROM staged WHERE bad <> 0)
TO $rejected (FORMAT parquet, COMPRESSION snappy);
----
COPY (
    SELECT s.* EXCLUDE (bad, cells), s.rowid + 1 AS _source_row, 'events.csv' AS _source_file,
           year(event_time)::INTEGER AS year, month(event_time)::INTEGER AS month
    FROM staged s LEFT JOIN contested c USING (row_id)
    WHERE bad = 0 AND (c.keep IS NULL OR c.keep = s.rowid)
) TO $data (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 122880, PARTITION_BY (year, month), WRITE_PARTITION_COLUMNS true);
