//! Help texts of all commands, as printed.

use crate::kad::{kad, portable};

/// Commands that a help text lists, without `help` itself.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, _) = line.strip_prefix("  ")?.split_once(' ')?;
        (!name.is_empty() && name != "help").then_some(name)
    });
    names.collect::<Vec<_>>().into_iter()
}

fn add_help(command: &[&str], shown: &mut String, count: &mut usize) {
    let help = kad(&[command, &["--help"]].concat()).succeeds();
    shown.push_str(&format!("## kad {}\n{help}\n", [command, &["--help"]].concat().join(" ")));
    *count += 1;
    for name in subcommands(&help) {
        add_help(&[command, &[name]].concat(), shown, count);
    }
}

#[test]
fn help_of_every_command() {
    let (mut shown, mut count) = (String::new(), 0);
    add_help(&[], &mut shown, &mut count);
    assert!(count >= 18, "{count} help texts");
    insta::assert_snapshot!(portable(&shown));
}

#[test]
fn the_version_is_that_of_the_crate() {
    assert_eq!(kad(&["--version"]).succeeds(), concat!("kad ", env!("CARGO_PKG_VERSION"), "\n"));
}
