"""The smallest DAG: one task, once a day."""
from datetime import datetime

from airflow.decorators import dag, task


@dag(start_date=datetime(2026, 1, 1), schedule="@daily", catchup=False)
def hello_bucket():
    @task
    def greet():
        print("Hello from the bucket")

    greet()


hello_bucket()
