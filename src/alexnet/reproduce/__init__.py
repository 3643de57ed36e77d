"""The paper's claims as experiments: their runs, their verdicts, and the report that sets both beside the paper.

An experiment is a file in `experiments/`: its claim, its arms (configurations, as differences from one base), what is
compared, its figure. `plan.py` lists the runs that are missing, `run.py` trains and measures one of them, `results.py`
keeps what was measured, `ledger.py` collects it, `verdict.py` has the rule.
"""
