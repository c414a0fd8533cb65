"""Where the package meets Airflow: each task of a DAG is one call into these modules.

Nothing else in the package imports Airflow.
"""
