"""The canonical tables on DuckDB and on Spark, built lazily where the data are."""
