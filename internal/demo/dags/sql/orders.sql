SELECT * FROM orders WHERE day = '{day}'
