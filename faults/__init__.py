"""Fault runs: a whole system of processes, a client that notes every answer, faults at random, and a ledger."""
