"""Reading files of many formats as rows of text cells, with the way back to every record's raw text.

Not for types (see `contract`) and not for where files come from. `open.open_input` is the entrance; `probe.sniff` is it
for files without a contract. "Misfit": the record is rejected and counted, its text kept; all others load. "Dead": the
object never loads as it is, with this code.

| input | outcome |
|---|---|
| empty file, or nothing but blank lines (text, JSON) | no records; it stands with 0 rows |
| empty Parquet, Excel or zip | dead HR413, HR414, HR402 |
| header only | no records; the header must still bind |
| BOM | taken off; it decides the encoding before anything else |
| UTF-16 and UTF-32 (UTF-16 also without a BOM) | read, rewritten as UTF-8 in scratch |
| no UTF-8 throughout | cp1252, or what whole words of another script show; pinned |
| a declared encoding | taken, unless a BOM says otherwise; a file that is not so is dead HR405 |
| UTF-8 with a few damaged records | those are misfits |
| NUL bytes | stay U+0000 in their cell: fine in text, a failed cast elsewhere |
| mixed line ends | each of CRLF, LF and CR ends a line outside quotes; text in quotes keeps its own |
| blank lines | no records (with one column: an empty cell each); records and lines still count right |
| quoted newlines, doubled quotes, a quote first seen at row 67,000 | read; the quote is never guessed |
| a quote inside a bare cell (`5" pipe`) | text |
| a quote opened or closed inside a quoted cell, or never closed | misfit, up to the line end behind the next quote |
| ragged rows | misfits: "3 cells where the header has 2" (one empty cell too many at the end is let pass) |
| a record of more than 2,000,000 bytes (CSV) | misfit |
| a record or NDJSON line of more than 16 MB, so also 1 GB on one line | dead HR406, in bounded memory |
| 10,000 columns | read |
| doubled header | `name_2`; if a column wants it: dead HR408. Blank header: `column_7` |
| headers that differ in case alone, or are called as something of ours or of DuckDB's | told apart, as written |
| changed column order, other columns | bound by name, file by file; files of unlike headers are staged apart |
| other delimiter, preamble | found where a header binds all required columns, otherwise RFC 4180; pinned |
| unknown suffix | dead HR401 |
| truncated or damaged gzip, Zstandard, zip | dead HR402 |
| a bomb: 250 times its size (beyond 256 MB), 64 GB, or 10,000 members | dead HR403 while it expands |
| zip: encrypted, or nothing readable inside | dead HR404 |
| zip: member names with `..` | only names: nothing is written under them |
| JSON: invalid, truncated, NaN, Infinity, trailing comma | dead HR409; in NDJSON the line is a misfit |
| JSON: no UTF-8 | dead HR405; in NDJSON the line is a misfit |
| JSON nested about 1,000 deep or deeper (so also 100,000) | dead HR410; in NDJSON the line is a misfit |
| one JSON document of more than 256 MB | dead HR411: write NDJSON |
| JSON: a key twice in one object, two keys for one column, no object | the record is a misfit |
| JSON: a key that a record lacks | null, whatever the column; a row without a required value is rejected |
| JSON: integers beyond 64 bit, 1.10, 1e999 | the literal, as text; the cast decides |
| JSON: nothing at the Record's root | dead HR412 |
| `.json` that holds NDJSON | read as NDJSON where its first line stands alone |
| Parquet: damaged | dead HR413 (footer) or HR407 (pages) |
| Excel: damaged, encrypted | dead HR414 |
| Excel: no such sheet | dead HR415 |
| Excel: DTD, external entities, bomb | dead HR416, refused unread |
| `13995.0`, dates and booleans in workbooks | `13995`, `2010-12-01 08:26:00`, `true`; blank rows are no records |
"""
