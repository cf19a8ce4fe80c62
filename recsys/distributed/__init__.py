"""Batch steps on a Dask cluster: the functions of one machine, mapped over partitions of the users."""
