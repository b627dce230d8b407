-- The readings of one asset on one day (UTC). Change the two values of `wanted`.
WITH wanted AS (
    SELECT '910001/1/L1 Active Power' AS asset_id, DATE '2025-05-02' AS day
)
SELECT timestamp, value, units
FROM lv_data JOIN wanted USING (asset_id)
WHERE (timestamp AT TIME ZONE 'UTC')::DATE = day
ORDER BY timestamp;
