//! `kad report`: runs shown and compared.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kad::{Lab, Refusals, SMALL, kad};

/// Two runs of one experiment, the second at another temperature and with a renamed decoder.
fn runs() -> (Lab, Lab, PathBuf, PathBuf) {
    let first = Lab::new(SMALL);
    first.run(&[]).succeeds();
    let changed = SMALL.replace("temperature = 0.7", "temperature = 0");
    let second = Lab::new(&changed.replace("aligned alone", "alone"));
    second.run(&[]).succeeds();
    let (a, b) = (first.results(), second.results());
    (first, second, a, b)
}

#[test]
fn runs_are_compared_and_the_plans_differences_are_named() {
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let table = kad(&["report", a, b]).succeeds();
    for word in ["sampling.temperature", "0.7", "KAD dual, threshold 0.5", "B − A", "alone"] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
    let only = "only in A: `aligned alone`; only in B: `alone`";
    for more in [&[][..], &["--markdown"]] {
        let table = kad(&[&["report", a, b], more].concat()).succeeds();
        assert!(table.contains(only) && !table.contains("decoders."), "{table}");
        // One row of numbers each.
        let rows = table.lines().filter(|row| row.contains("nano/validation"));
        let of = |name: &str| rows.clone().filter(|row| row.contains(name)).count();
        assert_eq!((rows.clone().count(), of("aligned alone")), (4, 1), "{table}");
    }
    assert!(kad(&["report", a, a]).succeeds().contains("their plans are the same"));

    let json = kad(&["report", a, b, "--json"]).succeeds();
    let found: Value = serde_json::from_str(&json).unwrap();
    assert!(found["repetitions"].is_null());
    let [one, other] = ["only_in_first", "only_in_second"].map(|key| &found["comparisons"][0][key]);
    assert_eq!((one, other), (&json!(["aligned alone"]), &json!(["alone"])));
    let decoders = found["comparisons"][0]["decoders"].as_array().unwrap();
    let named = |name: &str| decoders.iter().find(|pair| pair["decoder"] == name).unwrap();
    let pair = named("KAD dual, threshold 0.5");
    // By hand, from both files of records.
    let right = |folder: &str| {
        let text = fs::read_to_string(format!("{folder}/records.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own = records.filter(|r| r["decoder"] == "KAD dual, threshold 0.5");
        own.filter(|r| r["correct"] == true).count() as f64
    };
    let wanted = (right(b) - right(a)) / 6.0;
    assert!((pair["difference"]["mean"].as_f64().unwrap() - wanted).abs() < 1e-12, "{pair}");
    assert!(pair["speed"]["value"].as_f64().unwrap() > 0.0);
    assert!(named("alone")["first"].is_null() && named("aligned alone")["second"].is_null());
}

#[test]
fn a_run_is_shown_in_every_format() {
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    assert!(kad(&["report", a]).succeeds().contains("aligned alone"));
    let markdown = kad(&["report", a, "--markdown"]).succeeds();
    assert!(markdown.contains("| aligned alone") && markdown.contains("|---"), "{markdown}");
    let csv = kad(&["report", a, b, "--csv"]).succeeds();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 + 3, "{csv}");
    assert!(lines[0].starts_with("run,run_id,complete,task,decoder"), "{csv}");
    assert!(lines[0].ends_with("passes_per_token:aligned,passes_per_token:base"), "{csv}");
    assert!(lines[2].contains("\"KAD dual, threshold 0.2\""), "{csv}");
    let json = kad(&["report", a, "--json"]).succeeds();
    let wanted: Value =
        serde_json::from_str(&fs::read_to_string(format!("{a}/summary.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), wanted);
}

#[test]
fn folders_that_are_not_runs_are_refused() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let folder = lab.results();
    kad(&["report", folder.to_str().unwrap()]).refused(2, &refusals);
    for more in [&[][..], &["no/such/run"], &["--html", "page.html"]] {
        kad(&[&["report", "no/such/run"], more].concat()).refused(2, &refusals);
    }
    lab.run(&[]).succeeds();
    let above = folder.parent().unwrap();
    kad(&["report", above.to_str().unwrap()])
        .names(&[folder.to_str().unwrap()])
        .refused(2, &refusals);
    kad(&["report"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// The output of `kad report` equals the files beside the records, and the page can be made again.
#[test]
fn a_run_writes_its_tables_and_its_page_can_be_made_again() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&[]).succeeds();
    let folder = lab.results();
    let shown = folder.to_str().unwrap();
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(kad(&["report", shown, "--markdown"]).succeeds(), file("summary.md"));
    // The command also prints the folder.
    let named = kad(&["report", shown, "--csv"]).succeeds();
    assert_eq!(named.replace(shown, ""), file("summary.csv"));
    let again = lab.path().join("again.html");
    let html = |path: &std::path::Path| {
        kad(&["report", shown, "--html", path.to_str().unwrap()]).succeeds()
    };
    assert_eq!(html(&again), "");
    assert_eq!(fs::read_to_string(&again).unwrap(), file("report.html"));
    let page = file("report.html");
    for part in ["Shown as the first item", "kad run experiment.toml", "nano:small-base", "seed"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    assert!(!page.contains(lab.path().to_str().unwrap()), "the folder of this machine");

    // State after a crash before the prompts were written.
    fs::remove_file(folder.join("report.json")).unwrap();
    html(&again);
    assert!(fs::read_to_string(&again).unwrap().contains("The prompt was not kept"));
    let nowhere = lab.path().join("no/page.html");
    kad(&["report", shown, "--html", nowhere.to_str().unwrap()]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn runs_are_compared_on_a_page() {
    let (first, _second, a, b) = runs();
    let page = first.path().join("page.html");
    kad(&["report", a.to_str().unwrap(), b.to_str().unwrap(), "--html", page.to_str().unwrap()])
        .succeeds();
    let page = fs::read_to_string(page).unwrap();
    for part in ["sampling.temperature", "B − A", "B ÷ A", "KAD dual, threshold 0.5", "alone"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    let only = "A and B: only in A: `aligned alone`; only in B: `alone`.";
    assert!(page.contains(only) && !page.contains("decoders.al"), "{only} is not in the page");
    assert_eq!(page.matches("<svg").count(), 2, "accuracy and speed");
    assert!(!page.contains("repetitions of one plan") && !page.contains("<script"));
}

/// Three folders: the texts are equal, and the spread is over three speeds.
#[test]
fn repetitions_of_one_plan_show_their_spread() {
    let lab = Lab::new(SMALL);
    let file = lab.path().join("experiment.toml");
    let outs = ["r1", "r2", "r3"].map(|name| lab.path().join(name));
    let folders = outs.map(|out| {
        kad(&["run", file.to_str().unwrap(), "--out", out.to_str().unwrap()]).succeeds();
        let inside = |path: PathBuf| fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
        inside(inside(out)).to_str().unwrap().to_owned()
    });
    let report = |more: &[&str]| {
        let all = folders.iter().map(String::as_str);
        kad(&["report"].into_iter().chain(all).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let table = report(&[]).succeeds();
    assert!(
        table.contains("3 repetitions of one plan: their 18 texts are equal token for token"),
        "{table}"
    );
    let json: Value = serde_json::from_str(&report(&["--json"]).succeeds()).unwrap();
    for result in json["repetitions"]["results"].as_array().unwrap() {
        let number = |key: &str| result[key].as_f64().unwrap();
        let speed = |folder: &String| {
            let text = fs::read_to_string(format!("{folder}/summary.json")).unwrap();
            let summary: Value = serde_json::from_str(&text).unwrap();
            let results = summary["results"].as_array().unwrap().clone();
            let own = results.into_iter().find(|it| it["decoder"] == result["decoder"]).unwrap();
            own["tokens_per_second"].as_f64().unwrap()
        };
        let mut speeds: Vec<f64> = folders.iter().map(speed).collect();
        speeds.sort_by(f64::total_cmp);
        assert_eq!([number("min"), number("median"), number("max")], speeds[..]);
    }
    // One text changed.
    let records = format!("{}/records.jsonl", folders[1]);
    let text = fs::read_to_string(&records).unwrap();
    fs::write(&records, text.replacen("\"tokens\":[", "\"tokens\":[1,", 1)).unwrap();
    assert!(report(&[]).succeeds().contains("only 17 of 18 texts"));
}

/// Two runs of one plan; the second was continued with another number of jobs.
#[test]
fn rows_of_csv_have_folder_jobs_and_counts_of_unfinished_texts() {
    let folders = [Lab::new(SMALL), Lab::new(SMALL)];
    let [a, b] = folders.each_ref().map(|lab| {
        lab.run(&[]).succeeds();
        lab.results().to_str().unwrap().to_owned()
    });
    let change = |name: &str, change: &dyn Fn(&mut Value)| {
        let path = format!("{b}/{name}");
        let mut value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    };
    change("summary.json", &|summary| {
        summary["jobs"] = json!([1, 3]);
        summary["results"][2]["stops"] = json!({ "eos": 2, "prompt_too_long": 4 });
    });
    let csv = kad(&["report", &a, &b, "--csv"]).succeeds();
    let mut csv = csv::Reader::from_reader(csv.as_bytes());
    let heads = csv.headers().unwrap().clone();
    let place = |name: &str| heads.iter().position(|head| head == name).unwrap();
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let column = |name: &str| rows.iter().map(|row| &row[place(name)]).collect::<Vec<_>>();
    assert_eq!(column("folder"), [&a, &a, &a, &b, &b, &b]);
    assert_eq!(column("jobs"), ["1", "1", "1", "3", "3", "3"]);
    assert_eq!(column("too_long"), ["0", "0", "0", "0", "0", "4"]);
    let records = fs::read_to_string(format!("{a}/records.jsonl")).unwrap();
    let cut_off = |decoder: &&str| {
        let own = format!("\"decoder\":\"{decoder}\"");
        let own = records.lines().filter(|line| line.contains(&own));
        own.filter(|line| line.contains("\"stop\":\"max_tokens\"")).count().to_string()
    };
    let mut wanted: Vec<String> = column("decoder").iter().map(cut_off).collect();
    wanted[5] = "0".to_owned();
    assert_eq!(column("cut_off"), wanted);
    assert!(wanted.iter().any(|count| count != "0"), "{wanted:?}");
}

/// A folder that has only `summary.json`.
#[test]
fn a_summary_alone_is_shown_and_not_compared() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&[]).succeeds();
    let kept = lab.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::copy(lab.results().join("summary.json"), kept.join("summary.json")).unwrap();
    let (kept, run) = (kept.to_str().unwrap(), lab.results());
    let run = run.to_str().unwrap();
    assert!(kad(&["report", kept]).succeeds().contains("aligned alone"));
    assert_eq!(
        kad(&["report", kept, "--markdown"]).succeeds(),
        fs::read_to_string(format!("{run}/summary.md")).unwrap()
    );
    assert_eq!(kad(&["report", kept, run, "--csv"]).succeeds().lines().count(), 1 + 3 + 3);
    kad(&["report", kept, run]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

/// The second run changes the temperature of all decoders, the third that of one.
#[test]
fn three_runs_are_each_shown_with_their_own_plan() {
    let lab = Lab::new(SMALL);
    let run = |set: &str| {
        let out = lab.path().join(set.replace(' ', "-"));
        let out = out.to_str().unwrap().to_owned();
        let file = lab.path().join("experiment.toml");
        let args = ["run", file.to_str().unwrap(), "--limit", "1", "--set", set, "--out", &out];
        kad(&args).succeeds();
        let named = fs::read_dir(format!("{out}/small")).unwrap().next().unwrap().unwrap();
        named.path().display().to_string()
    };
    let folders = ["seed=3", "sampling.temperature=0.5"].map(run);
    let [a, b] = &folders;
    let c = run("decoders.'aligned alone'.sampling.temperature=0.9");
    let page = lab.path().join("page.html");
    kad(&["report", a, b, &c, "--html", page.to_str().unwrap()]).succeeds();
    let page: String = fs::read_to_string(page).unwrap().split_whitespace().collect();
    let row = "decoders.alignedalone.sampling.temperature</th><td>0.7</td><td>0.5</td><td>0.9</td>";
    assert!(page.contains(row), "{page}");
}

/// State of a run that was interrupted while merging shards, or killed after its summary.
#[test]
fn records_missing_from_the_summary_are_not_compared() {
    let refusals = Refusals::new();
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let text = fs::read_to_string(format!("{b}/records.jsonl")).unwrap();
    let first = text.lines().next().unwrap();
    let shard = format!("{b}/records.shard-1-of-2.x.jsonl");
    fs::write(&shard, format!("{first}\n")).unwrap();
    kad(&["report", a, b]).succeeds();
    let mut another: Value = serde_json::from_str(first).unwrap();
    another["item"] = "another".into();
    fs::write(&shard, format!("{another}\n")).unwrap();
    let facts = ["18", "19", b];
    kad(&["report", a, b]).names(&facts).refused(2, &refusals);
    let page = format!("{a}/page.html");
    kad(&["report", a, b, "--html", &page]).names(&facts).refused(2, &refusals);
    for more in [&[][..], &["--markdown"], &["--csv"], &["--json"], &["--html", &page]] {
        let alone = kad(&[&["report", b], more].concat());
        assert!(alone.stderr.contains("but the run has 19 records"), "{more:?}: {}", alone.stderr);
        let both = kad(&[&["report", a], more].concat());
        assert_eq!((alone.code, both.code, both.stderr.as_str()), (0, 0, ""), "{more:?}");
    }
    // An item in two files, and a torn line after a crash: no warning.
    fs::write(&shard, format!("{first}\n{{\"task\":")).unwrap();
    let twice = kad(&["report", b]);
    assert_eq!((twice.code, twice.stderr.as_str()), (0, ""));
    insta::assert_snapshot!(refusals);
}

/// State of a run that was killed before its first summary.
#[test]
fn a_run_without_a_summary_is_unfinished_and_left_out() {
    let refusals = Refusals::new();
    let (_first, _second, a, b) = runs();
    let lab = Lab::new(SMALL);
    lab.run(&["--limit", "2"]).succeeds();
    let killed = lab.results();
    fs::remove_file(killed.join("summary.json")).unwrap();
    let [a, b, killed] = [&a, &b, &killed].map(|path| path.to_str().unwrap());
    for folders in [&[killed][..], &[a, killed], &[killed, "--csv"], &[killed, killed, "--csv"]] {
        kad(&[&["report"], folders].concat()).names(&[killed, " 6 records"]).refused(2, &refusals);
    }
    let left_out = |args: &[&str]| {
        let ran = kad(&[&["report"], args].concat());
        let warned = ran.stderr.matches("warning: left out: ").count();
        assert!(warned == 1 && ran.stderr.contains("is unfinished: 6 records"), "{}", ran.stderr);
        ran.succeeds()
    };
    assert_eq!(left_out(&[a, killed, "--csv"]), kad(&["report", a, "--csv"]).succeeds());
    assert_eq!(left_out(&[killed, a, b]), kad(&["report", a, b]).succeeds());
    // No finished item; unmerged shards; a folder without a run is still an error.
    fs::write(format!("{killed}/records.jsonl"), "").unwrap();
    kad(&["report", killed]).refused(2, &refusals);
    fs::remove_file(format!("{killed}/records.jsonl")).unwrap();
    kad(&["report", killed]).refused(2, &refusals);
    fs::write(format!("{killed}/records.shard-1-of-2.x.jsonl"), "").unwrap();
    let shards = kad(&["report", a, killed, "--csv"]);
    assert!(shards.stderr.contains("has unmerged shards"), "{}", shards.stderr);
    shards.succeeds();
    let empty = lab.path().to_str().unwrap();
    kad(&["report", a, empty, "--csv"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// One plan; the second run had fewer items, the third decoded two at a time.
#[test]
fn runs_of_one_plan_name_their_differences() {
    let run = |more: &[&str]| {
        let lab = Lab::new(SMALL);
        lab.run(more).succeeds();
        let folder = lab.results().to_str().unwrap().to_owned();
        (lab, folder)
    };
    let ((_a, a), (_b, b), (_c, c)) = (run(&[]), run(&["--limit", "3"]), run(&["--jobs", "2"]));
    let fewer = kad(&["report", &a, &b]).succeeds();
    assert!(fewer.contains("their plans are the same, the runs are not: "), "{fewer}");
    assert!(fewer.contains("tasks.nano/validation.items") && !fewer.contains("at a time"));
    let markdown = kad(&["report", &a, &b, "--markdown"]).succeeds();
    let cells = |line: &str| line.split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>();
    let table: Vec<Vec<String>> =
        markdown.lines().skip_while(|it| !it.contains("shared")).map(cells).collect();
    let shared = table[0].iter().position(|head| head == "shared").unwrap();
    assert!(table[2..5].iter().all(|row| row[shared] == "3"), "{markdown}");
    let together = kad(&["report", &a, &c]).succeeds();
    assert!(together.contains("the runs are not: jobs differ"), "{together}");
    assert!(together.contains("B: times are of 2 items at a time"), "{together}");
    assert!(kad(&["report", &c]).succeeds().contains("times are of 2 items at a time"));
    let page = format!("{a}/page.html");
    kad(&["report", &a, &b, &c, "--html", &page]).succeeds();
    let page = fs::read_to_string(&page).unwrap();
    for part in [
        "A and C: their plans are the same, the runs are not: jobs differ.",
        "differs between the runs",
        "C: times are of 2 items at a time",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
}

/// Prints the output of a program on a terminal of a given width.
const TERMINAL: &str = r#"
import fcntl, os, pty, struct, sys, termios
child, end = pty.fork()
if child == 0:
    sys.stdin.read(1)
    os.execv(sys.argv[2], sys.argv[2:])
fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
os.write(end, b"\n")
text = b""
while True:
    try:
        part = os.read(end, 65536)
    except OSError:
        break
    if not part:
        break
    text += part
sys.stdout.buffer.write(text.replace(b"\r\n", b"\n"))
"#;

/// Markdown and terminals of unknown width have no limit.
#[cfg(unix)]
#[test]
fn tables_fit_the_terminal() {
    let lab = Lab::new(SMALL);
    lab.run(&[]).succeeds();
    let folder = lab.results();
    let on = |columns: &str, more: &[&str]| {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", TERMINAL, columns, env!("CARGO_BIN_EXE_kad"), "report"]);
        let output = python.arg(&folder).args(more).output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap().trim_start_matches('\n').to_owned())
    };
    let Some(markdown) = on("80", &["--markdown"]) else {
        eprintln!("SKIPPED: no python3");
        return;
    };
    assert_eq!(markdown, fs::read_to_string(folder.join("summary.md")).unwrap());
    let piped = kad(&["report", folder.to_str().unwrap()]).succeeds();
    assert_eq!(on("0", &[]).unwrap(), piped);
    let narrow = on("80", &[]).unwrap();
    let table = narrow.lines().filter(|line| line.starts_with(['│', '┌', '├', '└', '╞']));
    assert!(table.clone().count() > 4 && table.clone().all(|line| line.chars().count() <= 80));
}
