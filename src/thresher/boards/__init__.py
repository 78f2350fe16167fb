"""Boards: published tables, cell by cell, with our numbers beside them. `reproduce` is `thresher reproduce`.

A `Cell` (`cells`) is one number and names its result file. `targets` lists the cells of every table and figure, `place` says
where they run and where results are, `board` makes the table that is written.
"""
