"""Writes the same invented items twice: as the authors' files are (lines/) and as the hub publishes
them (tables/). Needs pyarrow; the files here are of pyarrow 26.0.1.

    python kad-eval/tests/tables/make.py

Column names and types are those of the datasets' cards. Options of the writer differ from file to file,
so that one reader meets them all.
"""

import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
TEXT, TEXTS = pa.string(), pa.list_(pa.string())


def write(name, text):
    path = HERE / "lines" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def lines(name, rows):
    write(name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def table(name, rows, schema, **options):
    path = HERE / "tables" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compression": "snappy", "write_statistics": False, "store_schema": False} | options
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(schema)), path, **options)


gsm8k = [
    {"question": "Ann has 2 pens and buys “3” more.\nHow many?", "answer": "2+3=<<2+3=5>>5\n#### 5"},
    {"question": "Half of 3,000?", "answer": "It is 1,500.\n#### 1,500"},
    {"question": "Ünal owes 7 €. What is his balance?", "answer": "#### -7"},
]
lines("gsm8k/test.jsonl", gsm8k[:2])
lines("gsm8k/train.jsonl", gsm8k[2:])
fields = {"question": TEXT, "answer": TEXT}
# Two parts, the first one in two row groups and with the schema that `datasets` keeps in the file.
table("gsm8k/test-00000-of-00001.parquet", gsm8k[:2], fields, row_group_size=1, store_schema=True)
table("gsm8k/train.parquet", gsm8k[2:], fields, compression="gzip")

# The numbers are numbers in the authors' file and text in the hub's, which is in two splits.
svamp = [
    {"ID": f"chal-{n}", "Body": "Tom has 8 pens.", "Question": f"Less {n}?",
     "Equation": f"( 8.0 - {n}.0 )", "Answer": 8.0 - n, "Type": "Subtraction"}
    for n in (1, 2, 10)
]
write("svamp/SVAMP.json", json.dumps(svamp, indent=1))
text = [row | {"Answer": str(row["Answer"]),
               "question_concat": row["Body"] + " " + row["Question"]} for row in svamp]
fields = {key: TEXT for key in text[0]}
table("svamp/test-00000-of-00001.parquet", text[1:2], fields, compression="none")
table("svamp/train-00000-of-00001.parquet", [text[2], text[0]], fields, compression="gzip")

arc = [
    {"id": "a", "question": "Which?", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]},
     "answerKey": "2"},
    {"id": "b", "question": "What?", "choices": {"text": ["u", "v"], "label": ["A", "B"]},
     "answerKey": "A"},
]
lines("arc_challenge/test.jsonl", arc)
choices = pa.struct({"text": TEXTS, "label": TEXTS})
fields = {"id": TEXT, "question": TEXT, "choices": choices, "answerKey": TEXT}
# Two parts, and a name with a digest.
table("arc_challenge/test-00001-of-00002-0123456789abcdef.parquet", arc[1:], fields)
table("arc_challenge/test-00000-of-00002-0123456789abcdef.parquet", arc[:1], fields,
      data_page_version="2.0")

mc1 = [["They pass", "They grow", "You die"], ["Yes", "No"]]
mc2 = [["They pass", "Nothing happens", "They grow", ""], ["No", "Yes"]]
truth1, truth2 = [[1, 0, 0], [1, 0]], [[1, 1, 0, 0], [0, 1]]
questions = ["Seeds?", "Is it?"]
pairs = [
    {"question": q, "mc1_targets": dict(zip(mc1[i], truth1[i])),
     "mc2_targets": dict(zip(mc2[i], truth2[i]))} for i, q in enumerate(questions)
]
write("truthfulqa/mc_task.json", json.dumps(pairs))
targets = pa.struct({"choices": TEXTS, "labels": pa.list_(pa.int32())})
rows = [
    {"question": q, "mc1_targets": {"choices": mc1[i], "labels": truth1[i]},
     "mc2_targets": {"choices": mc2[i], "labels": truth2[i]}} for i, q in enumerate(questions)
]
fields = {"question": TEXT, "mc1_targets": targets, "mc2_targets": targets}
table("truthfulqa/validation-00000-of-00001.parquet", rows, fields, use_compliant_nested_type=False)

mmlu = [
    {"question": "Sum of 1 and 1?", "subject": "anatomy", "choices": ["1", "2", "3", "4"],
     "answer": n} for n in (1, 2, 3)
]
lines("mmlu/test.jsonl", mmlu[:2])
lines("mmlu/dev.jsonl", mmlu[2:])
fields = {"question": TEXT, "subject": TEXT, "choices": TEXTS, "answer": pa.int64()}
table("mmlu/test-00000-of-00001.parquet", mmlu[:2], fields)
table("mmlu/dev-00000-of-00001.parquet", mmlu[2:], fields)

turns = [["Write.", "Again, in verse."], ["Count."]]
lines("mt_bench/question.jsonl", [
    {"question_id": 81 + i, "category": "writing", "turns": t} for i, t in enumerate(turns)])
rows = [{"prompt": t, "prompt_id": 81 + i, "category": "writing", "reference": []}
        for i, t in enumerate(turns)]
fields = {"prompt": TEXTS, "prompt_id": pa.int64(), "category": TEXT, "reference": TEXTS}
table("mt_bench/train-00000-of-00001-67c6c9fef07685a3.parquet", rows, fields)

humaneval = [{"task_id": "HumanEval/0", "prompt": "def f(x):\n    ", "canonical_solution": "return x\n",
              "test": "assert f(1) == 1\n", "entry_point": "f"}]
lines("humaneval/HumanEval.jsonl", humaneval)
table("humaneval/test-00000-of-00001.parquet", humaneval, {key: TEXT for key in humaneval[0]})
