"""What is told of requests afterwards: log lines and metrics.

Writes what it is given; decides nothing and knows no stage.
"""
