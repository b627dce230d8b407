-- The mean load of each substation in one month, highest first. Year and month are partitions: other files stay unread.
SELECT substation_number, substation_name, round(avg(value), 4) AS average_load, count(*) AS readings
FROM lv_data
WHERE year = 2025 AND month = 5
GROUP BY ALL
ORDER BY average_load DESC, substation_number;
