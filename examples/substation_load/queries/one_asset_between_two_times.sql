-- The readings of one asset between two times, both included. Change the three values of `wanted`.
WITH wanted AS (
    SELECT '910001/1/L1 Active Power' AS asset_id,
           TIMESTAMPTZ '2025-05-02 06:00:00+00' AS earliest,
           TIMESTAMPTZ '2025-05-02 07:00:00+00' AS latest
)
SELECT timestamp, value, units
FROM lv_data JOIN wanted USING (asset_id)
WHERE timestamp BETWEEN earliest AND latest
ORDER BY timestamp;
