"""Loads yesterday's orders with a query that lies beside this file."""
from datetime import datetime
from pathlib import Path

from airflow.decorators import dag, task

from common.dates import yesterday

QUERY = (Path(__file__).parent / "sql" / "orders.sql").read_text()


@dag(start_date=datetime(2026, 1, 1), schedule="@daily", catchup=False)
def orders():
    @task
    def load():
        print(QUERY.format(day=yesterday()))

    load()


orders()
