-- events: $rows rows of text, drawn from MD5 so that every version of the engine makes the same ones.
WITH numbered AS (
    SELECT range AS i, md5_number_lower('place' || range) AS h FROM range($rows)
),
placed AS (  -- each hundredth row repeats one of the half million rows before it that is no copy itself
    SELECT i, CASE WHEN i % 100 = 99 THEN greatest(i - 1 - (h % 500000)::BIGINT, 0) ELSE i END AS wanted FROM numbered
),
drawn AS (
    SELECT i, e, md5_number_lower('a' || e) AS a, md5_number_upper('a' || e) AS b, md5_number_lower('b' || e) AS c,
           md5_number_upper('b' || e) AS d
    FROM (SELECT i, CASE WHEN wanted % 100 = 99 THEN wanted - 1 ELSE wanted END AS e FROM placed)
),
valued AS (
    SELECT i, e, a, b, c, d,
           1 + (a % 499) AS quantity_n,
           ((b % 100000) / 100)::DECIMAL(10, 2) AS price_n,
           ['alpha', 'bravo', 'charlie', 'delta, quoted', 'echo', 'foxtrot', 'golf hotel', 'india', 'juliet',
            'kilo lima'] AS words
    FROM drawn
)
SELECT 'E' || lpad(e::VARCHAR, 10, '0') AS event_id,
       strftime(TIMESTAMP '2023-01-01' + to_seconds(((a >> 10) % 63072000)::BIGINT), '%Y-%m-%dT%H:%M:%S') AS event_time,
       CASE WHEN c % 50 = 0 THEN NULL ELSE (10000000 + (a >> 8) % 89999999)::VARCHAR END AS customer_id,
       CASE WHEN (c >> 4) % 50 = 0 THEN NULL ELSE 'd' || lpad(to_hex((b >> 20) % 4294967296), 8, '0') END AS device_id,
       CASE WHEN (c >> 8) % 50 = 0 THEN NULL ELSE 'site-' || lpad(((b >> 12) % 200)::VARCHAR, 3, '0') END AS site,
       CASE WHEN (c >> 12) % 50 = 0 THEN NULL
            ELSE ['electronics', 'grocery', 'apparel', 'energy', 'media', 'toys', 'garden', 'office'][((d >> 3) % 8)::INT + 1]
       END AS category,
       CASE WHEN d % 2000 = 1 THEN '12x' WHEN (c >> 16) % 50 = 0 THEN NULL ELSE quantity_n::VARCHAR END AS quantity,
       CASE WHEN d % 2000 = 2 THEN 'N/A?' WHEN (c >> 20) % 50 = 0 THEN NULL ELSE price_n::VARCHAR END AS unit_price,
       (quantity_n * price_n)::DECIMAL(14, 4)::VARCHAR AS amount,
       CASE WHEN (c >> 24) % 50 = 0 THEN NULL ELSE (((d >> 8) % 60000000) / 1000000 - 10)::DECIMAL(10, 6)::VARCHAR END
           AS temperature,
       CASE WHEN (c >> 28) % 50 = 0 THEN NULL ELSE ['OK', 'PENDING', 'FAILED', 'RETRY'][((d >> 34) % 4)::INT + 1] END AS status,
       CASE WHEN (c >> 32) % 50 = 0 THEN NULL
            ELSE words[((d >> 38) % 10)::INT + 1] || ' ' || words[((d >> 44) % 10)::INT + 1] END AS note
FROM valued
ORDER BY i
