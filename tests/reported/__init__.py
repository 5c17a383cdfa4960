"""Every number that a fit and a cross-validation report, worked out again from the draws and from the table itself.

Nothing here is taken from the code under test but the draws: three traits in units from 1e-3 to 1e4, four chains,
uneven replication, a column without a record, lines without one inside and outside the trial, rows in any order.
"""
