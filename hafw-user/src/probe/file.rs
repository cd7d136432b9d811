//! The number that stands in a file: keepalived's `track_file`.

use std::{
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use super::{Limit, Report};

/// The longest that is looked at for a number, bytes.
const LONGEST: u64 = 64;

pub(super) async fn run(file: &Path, limit: Limit) -> Report {
    let path = file.to_owned();
    let reading = limit.wait("end of reading", spawn_blocking(move || read(&path)));
    match reading.await {
        Err(report) => report.with_number(1),
        Ok(Ok(Ok(number))) => Report::number(number),
        Ok(Ok(Err(error))) => Report::bad(format!("it has no number: {error}")).with_number(1),
        Ok(Err(error)) => Report::bad(format!("it was not read: {error}")).with_number(1),
    }
}

/// A file that is not there, or empty, stands for 0, as with keepalived.
fn read(path: &Path) -> io::Result<i32> {
    // A pipe must not make anybody wait for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    match text.trim() {
        "" => Ok(0),
        number => number.parse().map_err(io::Error::other),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use hafw_lb::Outcome;
    use tempfile::TempDir;

    use super::*;
    use crate::probe::Probe;

    async fn look(file: &Path) -> (Outcome, Option<i32>) {
        let report = Probe::File(file.into()).run(Duration::from_secs(60)).await;
        (report.outcome, report.number)
    }

    #[tokio::test]
    async fn the_number_counts_and_nothing_is_nought() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("number");
        assert_eq!(look(&file).await, (Outcome::Ok, Some(0)));
        for (text, expected) in [
            ("", (Outcome::Ok, Some(0))),
            ("0\n", (Outcome::Ok, Some(0))),
            ("3", (Outcome::Bad, Some(3))),
            (" -20\n", (Outcome::Bad, Some(-20))),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(look(&file).await, expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_number_counts_as_one() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("number");
        for text in ["yes", "1 2", "99999999999", "1.5"] {
            fs::write(&file, text).unwrap();
            assert_eq!(look(&file).await, (Outcome::Bad, Some(1)), "{text:?}");
        }
        assert_eq!(look(folder.path()).await, (Outcome::Bad, Some(1)));
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(look(&pipe).await, (Outcome::Bad, Some(1)));
    }
}
