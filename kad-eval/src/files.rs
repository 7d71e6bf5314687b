//! Files written atomically, and folders tried before long work.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Writes `contents` to `path` atomically, see [`replace`].
///
/// # Errors
/// Fails if the folder is missing or cannot be written, or the disk is full; `path` is then
/// unchanged.
pub(crate) fn write(path: &Path, contents: &str) -> io::Result<()> {
    replace(path, |file| file.write_all(contents.as_bytes()))
}

/// Writes `path` atomically: `fill` writes a temporary file in the same folder, which is synced to
/// the disk and then renamed. A reader sees the old file or the new one, never a part. A device or
/// a pipe cannot be replaced: it is written directly.
///
/// # Errors
/// Errors of `fill`; a missing folder, a full disk. `path` is then unchanged and the temporary file
/// removed.
pub(crate) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        let file = File::options().write(true).open(path)?;
        let mut writer = BufWriter::new(&file);
        fill(&mut writer)?;
        return writer.flush();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = temporary(folder_of(path), &name)?;
    let mut writer = BufWriter::new(temporary.as_file());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map(drop).map_err(|failed| failed.error)
}

/// The folder that holds the file `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Creates `folder` where it is missing, and shows that files can be written in it.
///
/// # Errors
/// Fails if they cannot.
pub(crate) fn check_writable(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut probe = temporary(folder, "probe")?;
    probe.write_all(b"kad")?;
    probe.close()
}

/// The name is random: processes on several machines may write into one folder.
fn temporary(folder: &Path, name: &str) -> io::Result<NamedTempFile> {
    let prefix = format!(".{name}.");
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(".new");
    #[cfg(unix)]
    {
        // As of any new file, under the user's mask; the default of temporary files is private.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_and_stays() {
        write(Path::new("/dev/null"), "text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        write(&path, "old").unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["summary.json"]);
    }

    #[test]
    fn a_probe_creates_the_folder_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        check_writable(&inner).unwrap();
        assert!(names(&inner).is_empty());
        write(&inner.join("file"), "").unwrap();
        assert!(check_writable(&inner.join("file")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn other_users_may_read_a_file_where_the_mask_lets_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let [ours, usual] = ["ours", "usual"].map(|name| folder.path().join(name));
        write(&ours, "").unwrap();
        fs::write(&usual, "").unwrap();
        assert_eq!(mode(&ours), mode(&usual));
    }
}
