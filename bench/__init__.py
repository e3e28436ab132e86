"""Benchmarks: one file per question, ratios against a named peer measured in the same run, JSON out (`bench/out`).

python -m bench                 every question
python -m bench floor over_http only those
python -m bench --quick         small sizes, to see that they run
"""
