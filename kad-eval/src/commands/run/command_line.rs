//! The command line as provenance records it.

use std::path::Path;

/// The command with these arguments, quoted for a shell.
///
/// `--data`, `--out`, `--shard` and `--quiet` are left out: no number depends on them. Absolute
/// paths are cut to the name of the file, also behind `=`.
pub(super) fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["kad".to_owned()];
    let mut follows = false;
    for argument in arguments {
        let (option, value) =
            argument.split_once('=').map_or((&*argument, false), |it| (it.0, true));
        let is_left_out = ["--out", "--data", "--shard"].contains(&option);
        if argument == "--quiet" || argument == "-q" {
            continue;
        }
        if std::mem::replace(&mut follows, is_left_out && !value) || is_left_out {
            continue;
        }
        // A path stands alone, or behind `--option=` or `key=`.
        let (key, path) = argument.rsplit_once('=').map_or(("", &*argument), |it| it);
        let equals = if key.is_empty() { "" } else { "=" };
        let word = match Path::new(path).file_name().and_then(|name| name.to_str()) {
            Some(name) if Path::new(path).is_absolute() => format!("{key}{equals}{name}"),
            _ => argument,
        };
        words.push(word);
    }
    // NUL, which no shell can quote, cannot be in an argument.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn commands_can_be_pasted_and_name_no_folder_of_this_machine() {
        let of = |words: &[&str]| command(words.iter().map(|word| (*word).to_owned()));
        let asked = [
            "run",
            "/home/me/a b.toml",
            "--out",
            "/tmp/x",
            "--data=/d",
            "--limit",
            "3",
            "--shard",
            "1/2",
        ];
        assert_eq!(of(&asked), "kad run 'a b.toml' --limit 3");
        assert_eq!(
            of(&["run", "x/y.toml", "--set", "a=[1, 2]"]),
            "kad run x/y.toml --set 'a=[1, 2]'"
        );
        assert_eq!(of(&["run", "it's"]), r#"kad run "it's""#);
    }
}
