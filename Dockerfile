# The slim image brings Airflow's runtime only; every package comes from the lock.
FROM apache/airflow:slim-3.3.2-python3.12

COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --require-hashes --requirement /tmp/requirements.txt \
    # Named volumes take over the owner of the folders that they are mounted on.
    && mkdir -p /opt/airflow/staging /opt/airflow/auth

COPY --chown=airflow:0 include /opt/airflow/include
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 demo /opt/airflow/demo

# The command line finds the package where Airflow does: docker compose exec scheduler
# python -m engagement report
ENV PYTHONPATH=/opt/airflow/plugins

# Schedules read the time zone rules that the reports do: those of the package tzdata.
ENV PYTHONTZPATH=

USER airflow
