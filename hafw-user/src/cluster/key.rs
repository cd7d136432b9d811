//! The key that the nodes share, and its file.

use std::{
    fmt, fs::OpenOptions, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path,
};

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

/// Bytes of a key: a pre-shared key of Noise (revision 34, §9).
const BYTES: usize = 32;

/// A key. Nothing shows it but [`Key::text`].
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; BYTES]);

impl Key {
    /// A new one, from the kernel's random numbers.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn generate() -> io::Result<Self> {
        let mut key = [0; BYTES];
        let mut filled = 0;
        while filled < BYTES {
            match getrandom(&mut key[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self(key))
    }

    /// From 64 hexadecimal digits, with white space around them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().as_bytes();
        if digits.len() != BYTES * 2 {
            return None;
        }
        let mut key = [0; BYTES];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
            // Below 256.
            *byte = u8::try_from(high? * 16 + low?).ok()?;
        }
        Some(Self(key))
    }

    /// What [`Key::parse`] reads.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes it to a new file that its owner alone may read.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(file, "{}", self.text())?;
        file.sync_all()
    }

    pub(super) const fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_key_is_read_from_the_file_that_it_was_written_to_and_only_its_owner_may() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cluster.key");
        let key = Key::generate().unwrap();
        key.write(&file).unwrap();
        assert!(Key::parse(&fs::read_to_string(&file).unwrap()) == Some(key.clone()));
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = key.write(&file).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_is_no_key_is_refused_and_none_is_shown() {
        let good = "0123456789abcdefABCDEF00112233445566778899aabbccddeeff0011223344";
        assert!(Key::parse(good).is_some());
        for bad in [
            "",
            &good[1..],
            &good.replace('0', "g"),
            &good.replace('0', "é"),
        ] {
            assert!(Key::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{:?}", Key::parse(good)), "Some(Key)");
    }

    #[test]
    fn no_two_keys_are_alike() {
        assert!(Key::generate().unwrap() != Key::generate().unwrap());
    }
}
