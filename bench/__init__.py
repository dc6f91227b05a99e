"""Figures: what the daemons cost, in CPU time and memory, against what was promised.

Each `bench_*.py` has a `main()` that measures one daemon and shows its figures. CPU time and ratios
within one run hold on a busy machine; wall clock does not.
"""
