-- Mean, lowest and highest load of all assets, day by day (UTC).
SELECT (timestamp AT TIME ZONE 'UTC')::DATE AS day,
       avg(value) AS average_load, min(value) AS lowest, max(value) AS highest, count(*) AS readings
FROM lv_data
GROUP BY day
ORDER BY day;
