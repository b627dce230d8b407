-- The highest reading of each asset, and when it was first reached.
SELECT asset_id, max(value) AS peak, arg_max(timestamp, (value, -epoch(timestamp))) AS reached
FROM lv_data
GROUP BY asset_id
ORDER BY peak DESC, asset_id;
