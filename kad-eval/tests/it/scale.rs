//! The scripts of `docs/SCALE.md`, unchanged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::kad::Lab;
use crate::resume::{experiment, records, summary};

/// The script of the document with `name` in its second line.
fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SCALE.md");
    let document = fs::read_to_string(path).unwrap();
    let blocks = document.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let own = |block: &&str| block.lines().nth(1).unwrap().starts_with(&format!("# {name} "));
    let found: Vec<&str> = blocks.filter(own).collect();
    assert_eq!(found.len(), 1, "docs/SCALE.md has one {name}");
    found[0].to_owned()
}

/// A folder with an experiment and the scripts of the document, where `kad` is on the PATH.
struct Site {
    lab: Lab,
    path: String,
}

impl Site {
    fn new(scripts: &[&str]) -> Self {
        let lab = Lab::new(&experiment());
        for name in scripts {
            fs::write(lab.path().join(name), script(name)).unwrap();
        }
        let own = Path::new(env!("CARGO_BIN_EXE_kad")).parent().unwrap().display().to_string();
        let path = format!("{own}:{}", std::env::var("PATH").unwrap());
        Self { lab, path }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.lab.path()).env("PATH", &self.path);
        command.env_remove("KAD_DATA").env_remove("SHARDS").env("RAYON_NUM_THREADS", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// One task of a job array.
    fn task(&self, id: usize, count: usize) -> Child {
        let mut command = self.command("bash", &["shard.sbatch", "experiment.toml"]);
        command.env("SLURM_ARRAY_TASK_ID", id.to_string());
        command.env("SLURM_ARRAY_TASK_COUNT", count.to_string());
        command.env("SLURM_CPUS_PER_TASK", "1").spawn().unwrap()
    }

    /// Number of records that the shard, as `2-of-3`, has written.
    fn finished(&self, shard: &str) -> usize {
        let runs = fs::read_dir(self.lab.path().join("results/small")).into_iter().flatten();
        let file = |run: fs::DirEntry| {
            let id = run.file_name().into_string().unwrap();
            run.path().join(format!("records.shard-{shard}.{id}.jsonl"))
        };
        let texts = runs.flatten().filter_map(|run| fs::read_to_string(file(run)).ok());
        texts.map(|text| text.lines().count()).sum()
    }

    /// Asserts that the results equal those of one process and that no shard file is left.
    fn equals(&self, plain: &Lab) {
        assert_eq!(records(&self.lab), records(plain));
        assert_eq!(summary(&self.lab), summary(plain));
        let left = fs::read_dir(self.lab.results()).unwrap();
        let names: Vec<PathBuf> = left.map(|entry| entry.unwrap().path()).collect();
        let of_shards = |path: &&PathBuf| path.to_string_lossy().contains("records.shard-");
        assert_eq!(names.iter().find(of_shards), None);
    }
}

fn plain() -> Lab {
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    plain
}

fn succeeded(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn plain_processes_give_the_results_of_one_process() {
    let site = Site::new(&["processes.sh"]);
    let output = site.command("sh", &["processes.sh", "experiment.toml", "3"]).output().unwrap();
    let table = succeeded(&output);
    assert!(table.contains("aligned alone") && table.contains("report: "), "{table}");
    site.equals(&plain());
    // A failing shard is an error.
    let output = site
        .command("sh", &["processes.sh", "experiment.toml", "2", "--set", "seed=-1"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the same command goes on where they stopped"), "{stderr}");
}

#[test]
fn gnu_parallel_gives_the_results_of_one_process() {
    let there = Command::new("parallel").arg("--version").output();
    if !there.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU parallel")) {
        eprintln!("SKIPPED: no GNU parallel on the PATH (Debian's package `parallel`)");
        return;
    }
    let site = Site::new(&["parallel.sh"]);
    // This `--set` repeats a value of the file: the plan stays the same if every shard gets the
    // setting with its spaces and quotes.
    let same = "decoders.'aligned alone'.model = 'aligned'";
    let args = ["parallel.sh", "experiment.toml", "4", "--set", same];
    let home = tempfile::tempdir().unwrap();
    let output = site.command("sh", &args).env("HOME", home.path()).output().unwrap();
    let table = succeeded(&output);
    assert!(table.contains("aligned alone") && table.contains("report: "), "{table}");
    site.equals(&plain());
}

/// Three tasks of an array run at once; one is killed and queued again.
#[test]
fn slurm_tasks_give_the_results_of_one_process() {
    let site = Site::new(&["shard.sbatch", "merge.sbatch"]);
    let [first, mut second, third] = [1, 2, 3].map(|id| site.task(id, 3));
    while site.finished("2-of-3") < 4 && second.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(second.try_wait().unwrap().is_none(), "the shard was too fast to be killed");
    second.kill().unwrap();
    second.wait().unwrap();
    let before = site.finished("2-of-3");
    let all = 8 * 3;
    assert!((4..all).contains(&before), "{before}");
    let again = site.task(2, 3);
    for child in [first, third, again] {
        succeeded(&child.wait_with_output().unwrap());
    }
    assert_eq!(site.finished("2-of-3"), all);
    let merged = site.command("bash", &["merge.sbatch", "experiment.toml"]).output().unwrap();
    assert!(succeeded(&merged).contains("report: "));
    site.equals(&plain());
}

/// Folders of machines without a shared disk, copied together. A shard of another split repeats some
/// items.
#[test]
fn copied_shards_give_the_results_of_one_process() {
    let [here, there] = [(); 2].map(|()| Lab::new(&experiment()));
    here.run(&["--shard", "1/2"]).succeeds();
    there.run(&["--shard", "2/2"]).succeeds();
    let other = Lab::new(&experiment());
    other.run(&["--shard", "2/3"]).succeeds();
    for lab in [&there, &other] {
        for entry in fs::read_dir(lab.results()).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            fs::copy(path, here.results().join(name)).unwrap();
        }
    }
    here.run(&[]).succeeds();
    let plain = plain();
    assert_eq!(records(&here), records(&plain));
    assert_eq!(summary(&here), summary(&plain));
}

/// `submit.sh` asks Slurm for an array of the shards, and for a job that waits for all of them.
#[test]
fn slurm_gets_an_array_and_a_job_after_it() {
    let site = Site::new(&["submit.sh"]);
    let asked = site.lab.path().join("asked");
    let fake = "#!/bin/sh\nprintf '%s\\n' \"$*\" >> asked\necho '77;cluster'\n";
    let bin = site.lab.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("sbatch"), fake).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(bin.join("sbatch")).status().unwrap().success());
    let path = format!("{}:{}", bin.display(), site.path);
    let args = ["submit.sh", "my.toml", "8", "--set", "seed=2"];
    succeeded(&site.command("bash", &args).env("PATH", path).output().unwrap());
    assert_eq!(
        fs::read_to_string(asked).unwrap(),
        "--parsable --array=1-8 shard.sbatch my.toml --set seed=2\n\
         --dependency=afterok:77 --kill-on-invalid-dep=yes merge.sbatch my.toml --set seed=2\n"
    );
}
