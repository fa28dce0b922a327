//! Reads the texts that say where images and videos are.

use actix_web::web::Bytes;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use media::ImageError;
use media::video::VideoError;
use protocol::{BlobId, VisualKind};
use service::settings::ImageDownload;
use uuid::Uuid;

use super::super::echo;
use crate::order::{ImageRules, Source};

/// A kind of problem, and its message.
type Trouble = (&'static str, String);

const PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PADDING);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, PADDING);

/// How the texts of images, or those of videos, are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources {
    kind: VisualKind,
    max_bytes: usize,
    download: ImageDownload,
}

impl Sources {
    pub(super) const fn new(rules: &ImageRules, kind: VisualKind) -> Self {
        let max_bytes = match kind {
            VisualKind::Image => rules.max_bytes,
            VisualKind::Video => rules.max_video_bytes,
        };
        Self { kind, max_bytes, download: rules.download }
    }

    /// Reads a data URL, the id of a file or a blob, or an `http` or `https` URL.
    pub(super) fn source(&self, text: &str) -> Result<Source, Trouble> {
        let text = text.trim();
        if let Some(rest) = without_prefix(text, "data:") {
            return self.data_url(rest);
        }
        if ["http://", "https://"].iter().any(|scheme| without_prefix(text, scheme).is_some()) {
            return self.url(text);
        }
        blob_of(text).map(Source::Blob).ok_or_else(|| {
            let message = format!("expected {}, got '{}'", self.expected(), echo(text));
            ("value_error", message)
        })
    }

    /// Reads what [`Self::source`] reads, base64, or an image link in Markdown.
    pub(super) fn any(&self, text: &str) -> Result<Source, Trouble> {
        let text = text.trim();
        if let Some(url) = markdown_link(text) {
            return self.source(url);
        }
        // Base64 of the shortest image is longer than any id.
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(&byte);
        match text.len() > 40 && text.bytes().take(4096).all(is_base64) {
            true => self.base64(text),
            false => self.source(text),
        }
    }

    /// Reads base64, with or without line ends and padding.
    pub(super) fn base64(&self, text: &str) -> Result<Source, Trouble> {
        let has_spaces = text.bytes().any(|byte| byte.is_ascii_whitespace());
        let compact: String;
        let text = match has_spaces {
            true => {
                compact = text.split_ascii_whitespace().collect();
                &compact
            }
            false => text,
        };
        let (len, most) = (text.len() / 4 * 3, self.max_bytes);
        if len > most.saturating_add(2) {
            let message = match self.kind {
                VisualKind::Image => ImageError::TooManyBytes { len, most }.to_string(),
                VisualKind::Video => VideoError::TooManyBytes { len, most }.to_string(),
            };
            return Err(("too_long", message));
        }
        let is_url_safe = text.bytes().any(|byte| byte == b'-' || byte == b'_');
        let engine = if is_url_safe { &URL_SAFE } else { &STANDARD };
        match engine.decode(text) {
            Ok(bytes) => Ok(Source::Bytes(Bytes::from(bytes))),
            Err(error) => {
                let message =
                    format!("the {}'s base64 can't be decoded: {error}", self.kind.noun());
                Err(("value_error", message))
            }
        }
    }

    /// Reads a data URL behind `data:`. Its media type does not matter: the content decides.
    fn data_url(&self, rest: &str) -> Result<Source, Trouble> {
        let expected = format!("expected {}", self.example());
        let Some((head, data)) = rest.split_once(',') else {
            return Err(("value_error", format!("the data URL has no comma: {expected}")));
        };
        let is_base64 = head.split(';').any(|part| part.trim().eq_ignore_ascii_case("base64"));
        if !is_base64 {
            let message =
                format!("the data URL 'data:{},…' is not in base64: {expected}", echo(head));
            return Err(("value_error", message));
        }
        self.base64(data)
    }

    fn url(&self, url: &str) -> Result<Source, Trouble> {
        if self.download == ImageDownload::Off {
            let message = format!(
                "{0}s are not downloaded by this server (IMAGE_DOWNLOAD=off): send the {0} itself as a data URL ({1}), \
                 or upload it with POST /blobs or POST /v1/files and send its id",
                self.kind.noun(),
                self.example(),
            );
            return Err(("value_error", message));
        }
        Ok(Source::Url(url.to_owned()))
    }

    const fn example(&self) -> &'static str {
        match self.kind {
            VisualKind::Image => "data:image/png;base64,…",
            VisualKind::Video => "data:video/mp4;base64,…",
        }
    }

    fn expected(&self) -> String {
        let url = match self.download {
            ImageDownload::Off => "",
            _ => " an http or https URL,",
        };
        format!(
            "a data URL ({}),{url} or the id of a file of POST /v1/files or of a blob of POST /blobs",
            self.example()
        )
    }
}

/// Returns the blob that a text names: by its own id, or as the id of a file.
fn blob_of(text: &str) -> Option<BlobId> {
    let id = match text.strip_prefix("file-") {
        Some(hex) if hex.len() == 32 => hex,
        None if text.len() == 36 => text,
        _ => return None,
    };
    Uuid::try_parse(id).ok().map(BlobId::from)
}

/// Returns the text behind a prefix, which may have capitals.
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// Returns the address of `![a picture](address)`.
fn markdown_link(text: &str) -> Option<&str> {
    let (_, rest) = text.strip_prefix("![")?.split_once("](")?;
    let (address, behind) = rest.rsplit_once(')')?;
    behind.is_empty().then(|| address.trim())
}
