-- How much each asset's load varies: mean, variance (of a sample) and the share of readings that give power back.
SELECT asset_id, avg(value) AS average_load, var_samp(value) AS variance,
       count(*) FILTER (value < 0) / count(*) AS share_negative
FROM lv_data
GROUP BY asset_id
ORDER BY variance DESC, asset_id;
