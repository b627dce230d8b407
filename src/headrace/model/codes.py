"""What each error code means, for `headrace explain CODE`: a sentence on the cause, one on what to do."""

from __future__ import annotations

import re

from headrace.model.errors import UsageError

CODES: dict[str, str] = {
    "HR100": (
        "The words of the command do not fit together: an option or a name is missing or unknown. `headrace "
        "COMMAND --help` lists what it takes."
    ),
    "HR101": (
        "No headrace.toml was found in this folder or above it, or there is no such folder. Go into the project's "
        "folder, say --project DIR, or begin one with `headrace init`."
    ),
    "HR102": "headrace.toml is not valid TOML. The message names the line.",
    "HR103": (
        "headrace.toml holds a section or key that is not known, or a value of the wrong kind. It says where a "
        "project's pipelines and targets are, and nothing else."
    ),
    "HR104": (
        "The module named by [project] module is not in the project's folder, or has the name of a standard "
        "module of Python."
    ),
    "HR105": "headrace.toml has no target of this name. --target takes the NAME of a [targets.NAME].",
    "HR106": 'The target is of a kind that this version cannot open. Use kind = "local".',
    "HR107": "Python cannot read the definition module: a syntax error at the named line.",
    "HR108": (
        "The definition module raised an exception while it was imported, at the named line. Importing it must "
        "only define things."
    ),
    "HR109": "The definition module declares no pipeline. Assign a Pipeline(…) to a name at its top level.",
    "HR110": "[targets.NAME] holds a setting that does not exist. The message suggests the nearest.",
    "HR111": "A setting has a value that it cannot have, such as a size without a unit or a number below its least.",
    "HR112": (
        "Two pipelines share a name, or one table belongs to two pipelines. Each table has one pipeline; two "
        "pipelines may read one prefix."
    ),
    "HR120": "The project has no pipeline of this name.",
    "HR121": "A file named on the command line does not exist.",
    "HR122": "The pipeline's source would not take this file: its suffix is not one of the declared ones.",
    "HR123": (
        "Two of the given files would get the same key in the landing folder, so that one would replace the "
        "other. Run them from their common folder, or one at a time."
    ),
    "HR124": "Nothing that the source takes was found among the given files and folders.",
    "HR126": (
        "Another process holds the root, and what was asked of it has not moved for a minute. `headrace logs` tells "
        "what it fails at. What was asked for stays in the queue and is done when the cause is gone."
    ),
    "HR127": (
        "A file given to `quarantine correct` is no export: the columns _source_file, _source_version and "
        "_source_row tell where each row belongs and must stay as they were."
    ),
    "HR128": "The project has no table or sink of this name, or it is not a keyed one and was asked for with `get`.",
    "HR129": "A replay or retraction was asked for an object that does not stand. `headrace history` shows what does.",
    "HR130": "The ledger holds no load of this number. `headrace history` lists them.",
    "HR131": "The pipeline has no sink of this name.",
    "HR132": "What `explain` was given is no code, load, row or object that this target knows.",
    "HR133": "The command would ask before it goes on, but nobody can answer here. Say --yes.",
    "HR134": "The project has several pipelines and the command needs one: name it.",
    "HR135": "A file or folder exists already, and nothing is ever overwritten. Choose another name.",
    "HR136": "The object is not dead, so there is nothing to redrive. `headrace dlq ls` lists dead objects.",
    "HR137": "`replay` must be told which loads: --since, --file, --outdated or --all.",
    "HR138": "The example that `demo` loads is not part of this installation.",
    "HR139": "`init --from` found no table in the given files.",
    "HR140": "No error has this code.",
    "HR142": (
        "A file or folder that a command was told to write cannot be written: its folder is not there, may not be "
        "written to, or its name is too long. Nothing was written."
    ),
    "HR141": (
        "`retract --file` lets go what is gone. While an object is in the landing folder its rows would come back "
        "with the next look, so delete it there first."
    ),
    "HR201": (
        "A column's annotation is no type that a column can have: str, int, float, Decimal, bool, date, datetime, "
        "UUID, Literal, dict, list, or one of them with | None."
    ),
    "HR202": (
        "A pipeline or column has a name that cannot be one. Names begin with a letter; those with _ in front are "
        "Headrace's own; two that differ only in case are one in SQL."
    ),
    "HR203": (
        "The key names a column that does not exist, twice the same, or none where a sink needs one. The key "
        'stands in the class line: class Reading(Record, key=("asset_id", "timestamp")).'
    ),
    "HR204": (
        "Settings of a column do not fit its type or each other, such as digits on a float or a pattern on a number."
    ),
    "HR205": "A class keyword of a Record has a value that it cannot have.",
    "HR206": "The default of a column is not a value of its type, or is None where the annotation does not allow it.",
    "HR207": (
        "A name or expression in a definition cannot be bound: an unknown column or function, a column that is "
        "computed later, or SQL that cannot be read."
    ),
    "HR208": (
        "SQL in a definition is not a pure expression over one row: it asks for the time or a random number, "
        "looks at other rows or tables, or is no expression at all. A row must come out alike whenever it is "
        "computed."
    ),
    "HR209": "A sink is none, has no name for a table, or needs what the Record does not have.",
    "HR210": "A partition is not a column, nor year(), month(), day() or hour() of one.",
    "HR211": "A rule has no good name, a name that is taken, or a message that asks for a column that does not exist.",
    "HR212": (
        "The source says something impossible: a prefix that leaves the landing folder, a suffix without a dot, "
        "an unknown policy, or a dialect that no file can have."
    ),
    "HR213": (
        "A pipeline has a record that is none, a tolerance outside 0 to 1, or an expect_every that is no duration."
    ),
    "HR214": (
        "A step is neither sql('…') nor a function at the top of a module, or its result lacks a column of the Record."
    ),
    "HR215": "Two columns want the same header, or a column's header holds no letter or digit to be matched by.",
    "HR216": "A derived column's SQL gives another type than its annotation says.",
    "HR217": (
        "A keyword that the class, column, source or sink does not take, such as on_conflit= or sufix=. The message "
        "suggests the nearest."
    ),
    "HR240": (
        "The definition changed so that old and new loads cannot share a table: another key, order, partition or "
        "column type. New files stay staged; `headrace replay PIPELINE --all` brings the old loads over, all in one "
        "revision. Loads whose objects are gone cannot be read again: `headrace retract PIPELINE --gone` lets them go."
    ),
    "HR241": (
        "The base files of this pipeline's lake table hold rows that stand under another pipeline, which was renamed "
        "or removed. Nothing was touched. Call the pipeline by its old name again, or give the lake another table "
        "name and load the files anew."
    ),
    "HR242": (
        "A sink was added that cannot hold some of the rows that stand: they were loaded before it, and so were not "
        "held to what it takes (no null in a key, no item over 400 KB). The other sinks go on. `headrace replay "
        "PIPELINE --all` loads the objects again and rejects such rows, or take the sink away."
    ),
    "HR301": (
        "The landing folder or bucket is not there, not mounted, or cannot be read. It is tried again, and never taken "
        "for a deletion. Mount it, deploy the target, or correct its permissions."
    ),
    "HR302": "An object changed or went while it was read. Nothing of it was used; it is read again.",
    "HR303": (
        "One object cannot be read: its permissions, or a bad disk. It is tried again, and called dead if that lasts."
    ),
    "HR304": (
        "A file cannot be written: an object in the landing folder or the archive, or the copy that is to be read. The "
        "disk is full, or permissions forbid it."
    ),
    "HR306": (
        "The system has no file watch left (fs.inotify.max_user_watches), or refused one. The reconciling scan "
        "goes on and finds new files later."
    ),
    "HR307": "A notification could not be stored or sent. It is kept, and sent again.",
    "HR311": "A key would leave the landing folder or bucket, or names no object.",
    "HR312": "A key is longer than its place allows: 1,024 bytes in all, in a folder 255 for a part.",
    "HR313": (
        "A key's name says that it is still being written (.part, .tmp, or a dot in front). Rename it when it is whole."
    ),
    "HR314": "A file name is not UTF-8. Rename it.",
    "HR315": (
        "An object is larger than a copy of it may be here. Give it more room (`scratch_bytes`, or `ingest_storage` of "
        "a target on AWS) and redrive it, or upload it in parts."
    ),
    "HR401": "The object's suffix names no format that Headrace reads.",
    "HR402": "Compressed data is cut off or damaged. Upload it again.",
    "HR403": "An archive unpacks to more than it may: a bomb, or a file that should be uploaded unpacked.",
    "HR404": (
        "A zip holds no member of a known format, one of too long a name or two of one name, or is encrypted or packed "
        "unusually."
    ),
    "HR405": (
        "Text is not in the encoding that it was taken for, or in none. Declare it: files(…, "
        'csv=Csv(encoding="…")). JSON is always UTF-8.'
    ),
    "HR406": (
        "A record or line is larger than any record may be. Look for a quote that is never closed, or for a file "
        "without line ends."
    ),
    "HR407": "The file cannot be read as a table: its quoting or its line ends do not hold together.",
    "HR408": "Two headers of the file would feed one column.",
    "HR409": "The document is no JSON, or neither an object nor an array of objects.",
    "HR410": "The document is nested deeper than is read.",
    "HR411": "A JSON document is too large to be read whole. Write it as NDJSON, a record per line.",
    "HR412": "The Record's root= points to nothing in this document.",
    "HR413": "The Parquet file is damaged or cut off.",
    "HR414": "The workbook is damaged or encrypted.",
    "HR415": "The workbook has no sheet of the declared name.",
    "HR416": "The workbook is unsafe to open: it declares entities, or unpacks to more than it may.",
    "HR430": "A step returned something that is no pyarrow.Table.",
    "HR431": "A step's result lacks columns of its input.",
    "HR432": (
        "A step's result holds rows that its input does not. A step may change values and drop rows; it may not "
        "add any."
    ),
    "HR433": (
        "A step's result holds a row that a keyed sink cannot store: a part of its key is null, empty or too long, a "
        "number is not finite, or the row is more than 400 KB."
    ),
    "HR451": (
        "A required column has no header in this file. Add `= None` if the header may be absent, or name it: "
        'column("Other name").'
    ),
    "HR452": (
        'Two headers of this file fit one column by letters and digits. Name the wanted one exactly with column("…").'
    ),
    "HR453": 'The file has headers that no column wants, and the Record says extra="reject".',
    "HR501": (
        "A state file (SQLite) could not be used. The error says whether space, a permission or a lock was missing; "
        "where the file itself is damaged, restore a backup of the whole root. `headrace doctor` looks at the disk."
    ),
    "HR502": (
        "A state file has a version that this Headrace does not know: it was written by a newer one, or by nobody that "
        "we know. It was left as it is. Upgrade, or restore a backup."
    ),
    "HR503": (
        "A lease outlived its visibility, so another worker may hold the event now. Nothing was lost: the event "
        "is delivered again. Raise `visibility` if this is common."
    ),
    "HR511": (
        "A commit to the lake's Iceberg table did not succeed, or another process changed the table. Nothing was "
        "changed; it is tried again."
    ),
    "HR512": "A sink was given a revision that is not its next. The publisher applies the recorded ones in order.",
    "HR513": (
        "The lake's table or catalog is not as its last revision left it. `headrace rebuild SINK` writes it anew "
        "from the base."
    ),
    "HR514": (
        "A sink's columns cannot hold what the definition now says. `headrace replay PIPELINE --all`, then "
        "`headrace rebuild SINK`."
    ),
    "HR516": (
        "A keyed file has another layout than this version knows. Upgrade, or delete the file and rebuild the sink."
    ),
    "HR517": (
        "Two rows had the same key in a keyed sink: of one revision, or one of it and one of a load that stands. "
        "`headrace rebuild SINK` fills it from the base."
    ),
    "HR518": (
        "A keyed sink does not hold the rows that a revision removes. Nothing was written. `headrace rebuild "
        "SINK` fills it from the base."
    ),
    "HR519": "A keyed sink's file cannot be read or written. `headrace doctor` looks at the disk.",
    "HR520": "The accounting of a load does not add up, so it may not stand. This is a defect: report it.",
    "HR521": "Another process works on this root, or publishes this pipeline. Wait for it, or stop it.",
    "HR522": "A lock file cannot be opened. Make the root's `locks` folder writable.",
    "HR525": "Another worker staged part of the same batch first. Nothing is to be done.",
    "HR526": "Another publisher recorded this revision first. It begins again from the ledger.",
    "HR527": "The ledger lacks a revision that it should have. Restore a backup of the whole root.",
    "HR528": "The ledger lacks the contract of a load. Restore a backup of the whole root.",
    "HR530": (
        "A sink holds a revision that the ledger never recorded. Either a backup was restored on one side only: "
        "restore the other as well, or refill the sink with `headrace rebuild SINK`. Or another pipeline filled that "
        "sink: if you renamed the pipeline, call it by its old name again."
    ),
    "HR531": (
        "DuckDB or the disk refused work on Headrace's own files, for want of space or memory perhaps. Nothing was"
        " decided; it is tried again."
    ),
    "HR532": (
        "Files of the base, which hold the rows that stand, were deleted from outside. `headrace replay PIPELINE "
        "--all` reads their objects again and replaces what is lost; objects that are gone from the landing folder "
        "must be put back first, or let go with `headrace retract PIPELINE --gone`."
    ),
    "HR533": (
        "A keyed table that held rows is missing or empty. `headrace rebuild TABLE` fills it from the base; until then "
        "a lookup has no answer."
    ),
    "HR534": (
        "The folder that the target keeps everything in cannot be made or written. Make it writable, or give another "
        "`root` in headrace.toml."
    ),
    "HR601": "The confined child was killed from outside, perhaps by the system for want of memory. It is tried again.",
    "HR602": (
        "The confined child needed more memory than it may use. Raise memory_limit if the input is that large by right."
    ),
    "HR603": (
        "The confined child took longer than child_timeout and was killed. Raise it if the input takes that long "
        "by right."
    ),
    "HR604": (
        "The confined child crashed while it read this object. It is tried again; the object is called dead if "
        "this repeats."
    ),
    "HR605": "No confined child could be started. `headrace doctor` tells what this system grants.",
    "HR606": "The confined child found no space left on the disk.",
    "HR607": (
        "Something unexpected was raised while an object was read; the message ends with the place. This may be a "
        "defect: report it."
    ),
    "HR608": (
        "The confined child answered with loads or files that are not its job's, and nothing of that was believed. The "
        "object is tried again, and called dead if this repeats: it may have been made to take over its reader."
    ),
    "HR699": "A fault was asked for by HEADRACE_FAULT, which tests set.",
    "HR701": "A query cannot be read as SQL, or holds more than one statement.",
    "HR702": (
        "A query names a table that does not exist. Each sink has its <table>, <table>__rejected and "
        "<table>__losers; SHOW TABLES lists them."
    ),
    "HR703": (
        "A query may only read the tables: SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES and EXPLAIN. "
        "Functions that reach files, settings or the process are refused."
    ),
    "HR704": "DuckDB refused a query, for the reason given: an unknown column, or types that do not fit.",
    "HR705": "A query took longer than it may. Narrow it down, best by partition columns.",
    "HR706": (
        "A query needed more memory than it may use, or its answer is too large. Narrow it down, aggregate, or "
        "raise memory_limit."
    ),
    "HR721": "There is no keyed table of this name here.",
    "HR722": "A value cannot be a key of this table: it is of another type, or of another number of columns.",
    "HR801": (
        "No credentials for AWS were found, or AWS does not take those that were. Log in, or say which `profile` the "
        "target uses; `headrace doctor --target NAME` tries them."
    ),
    "HR802": (
        "The credentials may not do this on AWS. The message names the action and the resource: allow it in the policy "
        "of the role or user, or use another `profile`."
    ),
    "HR803": (
        "A service of AWS cannot be reached, or fails by itself. Nothing is taken for gone because of it: what was in "
        "hand is done again later. Look at the network, the region and any proxy."
    ),
    "HR804": (
        "A service of AWS throttled a request until all attempts were used up. It is done again later; lower "
        "`concurrency`, or have the account's quota raised, if this is common."
    ),
    "HR805": (
        "A service of AWS refused a request, for the reason that the message gives. A notification that SNS refuses as "
        "such is not sent again: `headrace logs` has its words."
    ),
    "HR806": (
        "A pipeline asks for something that AWS cannot do: CloudWatch, for one, looks back at most 7 days for "
        "`expect_every`."
    ),
    "HR807": (
        "A query cannot be said to Athena: it names something that is no table of the lake, or a function that only "
        "DuckDB has. A saved query of that kind is left out of the stack, and its workgroup says so."
    ),
    "HR808": (
        "Two pipelines, tables or saved queries have names that differ only in what AWS's names cannot hold. Rename "
        "one."
    ),
    "HR809": (
        "There is no list price for a region or a request, or the metered sample cannot be read: nothing is said of "
        "cost rather than something wrong."
    ),
    "HR810": "A target of kind aws needs a stack's name and a region: [targets.NAME] stack = …, region = ….",
    "HR811": "[targets.NAME] of kind aws holds an option that does not exist. The message suggests the nearest.",
    "HR812": (
        "An option of an aws target has a value that it cannot have, or that does not fit another one. The message "
        "says what it can be."
    ),
    "HR813": (
        "The places of a stack (buckets, queues, tables) cannot be read: it was not deployed by this version, or lacks "
        "a pipeline that the project has. `headrace deploy` brings it up to date."
    ),
    "HR814": "Targets of kind aws need the AWS library. Install it with `pip install 'headrace[aws]'`.",
    "HR815": (
        "`headrace up` is for targets on this machine. A stack works by itself whenever a file arrives: `headrace logs "
        "--follow` shows it at work."
    ),
    "HR816": (
        "A keyed table is a DynamoDB table on AWS, and answers by key alone: `headrace get TABLE KEY`. Where the "
        "pipeline has a lake as well, SQL finds the same rows there."
    ),
    "HR817": "The publish function was called with something to do that it does not know. The message says with what.",
    "HR818": "A function of the stack failed at what it was asked. `headrace logs` has what went before.",
    "HR820": "Functions run on x86_64 or arm64. Set `architecture` of the target to one of them.",
    "HR821": (
        "The libraries of the functions are not all in this user's cache, and the package index cannot be reached. Go "
        "online once, or name an index that can be reached, as for any use of pip."
    ),
    "HR822": "Packaging the functions needs pip, which fetches their libraries: `python -m ensurepip`, or install uv.",
    "HR823": (
        "A library's bytes are not those that Headrace, or the project's requirements.txt, is locked to. Nothing was "
        "packaged. The package index, or something in between, gives other files: find out why before you deploy."
    ),
    "HR824": (
        "pip could not bring a library for the functions, for the reason given. They run Python 3.12 on Linux: a "
        "library needs a wheel for that."
    ),
    "HR825": (
        "What the definitions import, and Headrace itself does not, stands in the project's requirements.txt. Each "
        "line pins one version by its hashes, so that what is deployed is what was tried: `uv pip compile "
        "--python-version 3.12 --generate-hashes` writes it so, with what a library needs itself."
    ),
    "HR826": (
        "The project's requirements.txt wants another version of a library that Headrace itself needs. A function "
        "holds one: pin the one that the message names."
    ),
    "HR827": (
        "The Python 3.12 that should compile the functions' modules does not work. Name another by HEADRACE_PYTHON312. "
        "Without any the functions work too, and take longer to start."
    ),
    "HR828": (
        "A module of the project has the name of a library that the functions need, and would be taken for it. Rename "
        "it."
    ),
    "HR829": (
        "The package of a function cannot be made: it is larger than the 250 MB that Lambda takes, or the disk refused "
        "it."
    ),
    "HR830": 'The command is about a stack on AWS, and the target is of another kind. Say --target with an "aws" one.',
    "HR832": (
        "A bucket's name is somebody else's, for names of buckets are the whole world's; or the credentials may not "
        "look at it: S3 answers both alike. Allow s3:ListBucket on it if it is yours, or give another name in the "
        "target's table (the artifacts bucket's follows from `stack`)."
    ),
    "HR833": (
        "CloudFormation could not make, change or delete a resource. The message names the first one that failed, "
        "with the reason; what failed later failed because of it. A failed deploy is rolled back; deploy again once "
        "the cause is gone."
    ),
    "HR834": (
        "A stack of this name belongs to another project, or was not made by Headrace, and is left alone. Give another "
        "`stack` in the target's table; for a project that was renamed or moved, set [project] name to the old one."
    ),
    "HR835": (
        "A stack is stuck: an update failed, and so did rolling it back, twice. The message names the resource; mend "
        "it, or let CloudFormation leave it out of the rollback."
    ),
    "HR836": (
        "Deploying would lose rows or files, or leave them behind: a changed key or partitioning, or a table or bucket "
        "that is not declared any more, which stays in the account and is no longer updated. Nothing was changed. "
        "`headrace plan` shows it in full."
    ),
    "HR837": "CloudFormation refused the change set before anything was changed, for the reason given.",
    "HR838": (
        "Something of the stack is not as it was deployed: somebody changed or deleted it by hand. `headrace plan` "
        "lists what; `headrace deploy --repair` brings it back to what the definition says."
    ),
    "HR839": "`destroy` wants the stack's name typed, or --yes and --confirm NAME where nobody can be asked.",
    "HR840": "After a destroy something of the stack was still there, or could not be told to be its own.",
    "HR841": (
        "A check of `verify` failed. The message names the first one; the others are listed. The canary leaves no row, "
        "whether it came through or not."
    ),
    "HR843": "A file given to `invoke` or `plan --sample` is no JSON object.",
    "HR844": "The stack is not deployed in this account and region.",
    "HR845": "CloudFormation was at work for longer than an hour. The same command again waits on.",
    "HR846": (
        "DynamoDB makes or deletes one index of a table at a time, and CloudFormation refuses an update that asks for "
        "more. Nothing was changed. Deploy the indexes one after the other; a new table may have several at once."
    ),
    "HR847": (
        "CloudFormation takes 500 resources in a stack, and a pipeline needs some 28. Split the pipelines among "
        "projects; each has a stack of its own."
    ),
    "HR848": (
        "A bucket, table or Glue database is there already under a name that the stack wants, and does not carry the "
        "stack's tag (headrace-stack). Nothing was changed: taken up, it would be deleted one day with the stack's own "
        "data. Give another name, or tag it if the stack shall have it."
    ),
    "HR850": (
        "Another writer holds the keyed table in DynamoDB and may be alive, or requests of one that died may still "
        "arrive. Nothing was written; it is tried again until the other's lease has run out, in some minutes."
    ),
    "HR851": (
        "Another writer took the keyed table in DynamoDB over from this one, which changed nothing since. It is tried "
        "again from what the table says now."
    ),
    "HR852": (
        "DynamoDB did not take all items within the time, because it throttles. What was taken is marked, and the rest "
        "is tried again. A new on-demand table takes 4,000 items/s and doubles that within half an hour."
    ),
    "HR853": (
        "A keyed table is missing in DynamoDB, or its keys or indexes are not those of the definition. `headrace plan` "
        "tells the difference, `headrace deploy` makes it so."
    ),
    "HR854": "A keyed table in DynamoDB was written by a newer Headrace. Upgrade this one.",
    "HR855": (
        "DuckDB or the disk failed while rows of the base were read for a keyed table in DynamoDB. It is tried again, "
        "from the last mark on."
    ),
    "HR856": (
        "An index of a keyed table in DynamoDB is new and does not have every row yet. The publisher fills the table "
        "before the next revision; `headrace rebuild TABLE` does it at once."
    ),
    "HR857": "A function's time was nearly up while it wrote a keyed table. It goes on from the last mark by itself.",
    "HR860": "The Glue database of the lake's tables is not there. `headrace deploy` makes it.",
    "HR861": (
        "The Glue database has a table of the sink's name that is no Iceberg table, so it is not ours to change. "
        "Delete that table, or give the sink another name."
    ),
    "HR871": (
        "Others change the same items of the ledger's table all the time, or DynamoDB throttles it. Nothing is lost: "
        "the work comes back and is tried again. Lower `concurrency` if this is common."
    ),
    "HR872": (
        "More objects were read together than the ledger on AWS can take at once, or their keys have too many versions "
        "that wait. Nothing is lost: the job is halved. Set `batch_files` of the target to the number that the message "
        "names, or less."
    ),
    "HR873": (
        "An object of the lake bucket that belongs to the ledger is gone. The bucket is versioned: restore the object, "
        "and let nothing delete below `ledger/`."
    ),
    "HR881": (
        "The queue took some messages of a batch and refused others. What it refused was not lost: whoever put it does "
        "so again, and a scan finds what no event tells of."
    ),
    "HR882": (
        "A file of the base that was just written is not as long as it was when it was finished, so it was not stored. "
        "Something else writes to the working folder; the load is staged anew."
    ),
    "HR901": (
        "Something unexpected was raised: a defect of Headrace. Nothing that was committed is lost. Report the "
        "trace file that the message names."
    ),
}


def is_code(text: str) -> bool:
    """Whether a text has the form of a code."""
    return re.fullmatch(r"HR\d{3}", text, re.IGNORECASE) is not None


def explain_code(code: str) -> str:
    """The paragraph of a code. Raises UsageError HR140 for one that does not exist."""
    code = code.upper()
    if code not in CODES:
        raise UsageError("HR140", code, "there is no such code", "codes stand in front of each error")
    return CODES[code]
