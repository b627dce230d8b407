"""The bulk work on Spark local[2], in one job: accepted and rejected rows leave as one partitioned data set.

usage: spark_events.py FILE OUT
"""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

source, out = Path(sys.argv[1]), Path(sys.argv[2])
TEXT = "event_id event_time customer_id device_id site category quantity unit_price amount temperature status note"
INTEGERS, FLOATS = ["customer_id", "quantity"], ["unit_price", "amount", "temperature"]

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.driver.memory", "6g")
    .config("spark.sql.shuffle.partitions", "8")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.ansi.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.parquet.compression.codec", "snappy")
    .config("spark.local.dir", str(out))
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
names = TEXT.split()
rows = spark.read.schema(", ".join(f"{n} string" for n in names)).option("header", True).csv(str(source))
whole = F.concat_ws("\x1f", *[F.coalesce(F.col(n), F.lit("")) for n in names])
typed = {n: F.col(n).cast("bigint") for n in INTEGERS} | {n: F.col(n).cast("double") for n in FLOATS}
typed["event_time"] = F.to_timestamp_ntz(F.col("event_time"), F.lit("yyyy-MM-dd'T'HH:mm:ss"))
wrong = F.lit(False)
for name, value in typed.items():
    wrong = wrong | (value.isNull() & F.col(name).isNotNull())
for name in INTEGERS:  # a cast alone would cut 12.7 to 12
    wrong = wrong | F.coalesce(F.col(name).contains("."), F.lit(False))

staged = rows.select(
    *[typed.get(n, F.col(n)).alias(n) for n in names],
    F.when(wrong, F.concat(F.lit("r"), F.monotonically_increasing_id().cast("string")))
    .otherwise(F.md5(whole))
    .alias("row_id"),
    F.when(wrong, whole).alias("_raw"),
    F.lit(source.name).alias("_source_file"),
    wrong.alias("rejected"),
)
kept = (
    staged.dropDuplicates(["row_id"])
    .withColumn("year", F.when(~F.col("rejected"), F.year("event_time")))
    .withColumn("month", F.when(~F.col("rejected"), F.month("event_time")))
)
kept.write.mode("overwrite").partitionBy("rejected", "year", "month").parquet(str(out / "data"))
written = spark.read.parquet(str(out / "data")).groupBy("rejected").count().collect()
counts = {str(row["rejected"]).lower(): row["count"] for row in written}
print("\n" + json.dumps({"rows": counts["false"], "rejected": counts["true"]}), flush=True)
spark.stop()
