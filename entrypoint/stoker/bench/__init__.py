"""One model served by each engine kind in turn, measured through HTTP.

    cases -> server -> load -> statistics -> report, table, chart

Own load client: guidellm and aiperf bring a tokenizer, pydantic and several processes with them, and on two cores a
client that parses JSON for every token takes the cores from the engine it measures. Ours counts the ends of events in
bytes (`load.py`); every load reports the processor time that the client itself took.
"""
