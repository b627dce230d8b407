"""Reading files of many formats as rows of text cells, with the way back to every record's raw text.

Not for types (see `contract`) and not for where files come from. `open.open_input` is the entrance; `probe.sniff` is it
for files without a contract.
"""
