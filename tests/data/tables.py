"""Reads tables of a run as CSV and as Parquet, each with pandas and with DuckDB; prints for each: table, reader, rows, sum of a column."""

import sys
from pathlib import Path

try:
    import duckdb
    import pandas
    import pyarrow  # noqa: F401  what pandas reads Parquet with
except ImportError as error:
    sys.exit(f"missing: {error.name}")

results, parquet = Path(sys.argv[1]), Path(sys.argv[2])
for table, column in [("trials", "duration_s"), ("arms", "thread_cpu_share"), ("effects", "ratio")]:
    for file in [results / f"{table}.csv", parquet / f"{table}.parquet"]:
        frame = pandas.read_csv(file) if file.suffix == ".csv" else pandas.read_parquet(file)
        print(table, "pandas" + file.suffix, len(frame), float(frame[column].sum()))
        [(rows, total)] = duckdb.sql(f"SELECT count(*), sum({column}) FROM '{file}'").fetchall()
        print(table, "duckdb" + file.suffix, rows, total)
