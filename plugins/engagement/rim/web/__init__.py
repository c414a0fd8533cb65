"""What Airflow's API server shows of the reports: a view, and an API for their numbers."""
