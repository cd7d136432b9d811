//! Content codings (RFC 9110 §8.4): which one a client asks for, and the coding itself.

use std::io::{self, Write as _};

use brotli::CompressorWriter;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

/// A coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    Zstd,
    Br,
    Gzip,
}

/// Cheap enough to be done while a client waits.
const GZIP_LEVEL: u32 = 4;
const BROTLI_LEVEL: u32 = 4;
const BROTLI_WINDOW: u32 = 18;
const ZSTD_LEVEL: i32 = 3;
const BROTLI_BUFFER: usize = 4096;

impl Coding {
    /// Every coding with its name in messages and in the file.
    pub const NAMES: [(&'static str, Self); 3] =
        [("zstd", Self::Zstd), ("br", Self::Br), ("gzip", Self::Gzip)];

    #[must_use]
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names
            .find(|(_, coding)| *coding == self)
            .map_or("", |(name, _)| name)
    }

    /// The first of `offered` that a client's Accept-Encoding allows by name. `*` is taken for
    /// nothing: who does not name a coding may not know it.
    #[must_use]
    pub fn choose(accept: &[u8], offered: &[Self]) -> Option<Self> {
        let accepts = |coding: &Self| {
            accept.split(|byte| *byte == b',').any(|member| {
                let mut parts = member.split(|byte| *byte == b';');
                let name = parts.next().unwrap_or_default().trim_ascii();
                let is_refused = parts.any(|part| is_zero_weight(part.trim_ascii()));
                name.eq_ignore_ascii_case(coding.name().as_bytes()) && !is_refused
            })
        };
        offered.iter().copied().find(accepts)
    }
}

/// `q=0`, `q=0.0` and so on.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let weight = parameter
        .strip_prefix(b"q=")
        .or(parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| {
        !weight.is_empty() && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
    })
}

/// A body that is being coded.
pub struct Compressor(Encoder);

enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Compressor").finish()
    }
}

impl Compressor {
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn new(coding: Coding) -> io::Result<Self> {
        let out = Vec::new();
        Ok(Self(match coding {
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?),
            Coding::Br => Encoder::Br(Box::new(CompressorWriter::new(
                out,
                BROTLI_BUFFER,
                BROTLI_LEVEL,
                BROTLI_WINDOW,
            ))),
            Coding::Gzip => {
                Encoder::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL)))
            }
        }))
    }

    /// Codes a part of the body, so that the client can read all of it, and appends it to `out` as
    /// a chunk.
    ///
    /// # Errors
    ///
    /// The coding failed.
    pub fn write(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        if content.is_empty() {
            return Ok(());
        }
        let coded = match &mut self.0 {
            Encoder::Zstd(encoder) => {
                encoder.write_all(content)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Encoder::Br(encoder) => {
                encoder.write_all(content)?;
                encoder.flush()?;
                encoder.get_mut()
            }
            Encoder::Gzip(encoder) => {
                encoder.write_all(content)?;
                encoder.flush()?;
                encoder.get_mut()
            }
        };
        append_chunk(coded, out);
        coded.clear();
        Ok(())
    }

    /// Ends the body, with the last chunk.
    ///
    /// # Errors
    ///
    /// The coding failed.
    pub fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        let coded = match self.0 {
            Encoder::Zstd(encoder) => encoder.finish()?,
            Encoder::Br(encoder) => encoder.into_inner(),
            Encoder::Gzip(encoder) => encoder.finish()?,
        };
        append_chunk(&coded, out);
        out.extend_from_slice(b"0\r\n\r\n");
        Ok(())
    }
}

fn append_chunk(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::http1::Body;

    #[test]
    fn the_first_offered_coding_that_is_asked_for_is_chosen() {
        use Coding::{Br, Gzip, Zstd};
        let all = [Zstd, Br, Gzip];
        for (accept, chosen) in [
            ("gzip, deflate, br", Some(Br)),
            ("GZIP", Some(Gzip)),
            ("zstd;q=0, gzip;q=0.5", Some(Gzip)),
            ("br; q=0.000", None),
            ("gzip;q=0.001", Some(Gzip)),
            ("*", None),
            ("xgzip, gzipx", None),
            ("", None),
        ] {
            assert_eq!(Coding::choose(accept.as_bytes(), &all), chosen, "{accept}");
        }
        assert_eq!(Coding::choose(b"gzip, br", &[Gzip, Br]), Some(Gzip));
    }

    #[test]
    fn what_is_coded_reads_as_it_was() {
        let parts = ["hello, ".repeat(10_000), "world".to_owned(), String::new()];
        for (name, coding) in Coding::NAMES {
            let mut compressor = Compressor::new(coding).unwrap();
            let mut chunks = Vec::new();
            for part in &parts {
                compressor.write(part.as_bytes(), &mut chunks).unwrap();
            }
            compressor.finish(&mut chunks).unwrap();

            let mut body = Body::chunked();
            let (passed, len) = body.advance_unchunked(&mut chunks).unwrap();
            assert!(body.is_done() && passed == chunks.len(), "{name}");
            let coded = &chunks[..len];
            assert!(coded.len() < 1000, "{name}: {}", coded.len());
            let mut decoded = Vec::new();
            match coding {
                Coding::Zstd => decoded = zstd::decode_all(coded).unwrap(),
                Coding::Br => {
                    let mut reader = brotli::Decompressor::new(coded, 4096);
                    reader.read_to_end(&mut decoded).unwrap();
                }
                Coding::Gzip => {
                    let mut reader = flate2::read::GzDecoder::new(coded);
                    reader.read_to_end(&mut decoded).unwrap();
                }
            }
            assert_eq!(decoded, parts.concat().into_bytes(), "{name}");
        }
    }
}
