//! The web UI's files, compiled into the binary.
//!
//! The sources are TypeScript, in `web/`. `npm run build` writes `dist/`, which is committed, so that cargo needs no
//! Node; `.ci/run` checks that it is up to date. This crate only lists the built files. README.md tells how the UI is
//! made.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

/// A file of the UI.
#[derive(Debug)]
pub struct File {
    /// Its path relative to the UI's address.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// Its contents.
    pub bytes: &'static [u8],
    /// The value of `ETag`: a hash of the contents, in quotes.
    pub etag: String,
}

/// The policy that the UI's pages need: only the UI's own files and this gateway's API. Images and videos that a user
/// attaches, or that are fetched with a key, have addresses of the schemes `blob:` and `data:`.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($(($path:literal, $content_type:literal)),* $(,)?) => {
        [$(File::new($path, $content_type, include_bytes!(concat!("../dist/", $path)))),*]
    };
}

static FILES: LazyLock<[File; 6]> = LazyLock::new(|| {
    files![
        ("index.html", "text/html; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("app.css", "text/css; charset=utf-8"),
        ("theme.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("manifest.webmanifest", "application/manifest+json"),
    ]
});

impl File {
    fn new(path: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash = Sha256::digest(bytes);
        let etag = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { path, content_type, bytes, etag: format!("\"{etag}\"") }
    }
}

/// Returns the file at this path relative to the UI's address, or `None` if there is none. The empty path is the page.
pub fn file(path: &str) -> Option<&'static File> {
    let path = if path.is_empty() { "index.html" } else { path };
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_built_file_is_listed() {
        let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist");
        let built = std::fs::read_dir(dist).unwrap().map(|entry| entry.unwrap().file_name());
        let mut built: Vec<_> = built.map(|name| name.into_string().unwrap()).collect();
        let mut listed: Vec<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        built.sort();
        listed.sort();
        assert_eq!(built, listed);
    }

    #[test]
    fn the_page_is_at_the_empty_path_and_refers_to_listed_files() {
        let page = file("").unwrap();
        assert_eq!(page.path, "index.html");
        let text = std::str::from_utf8(page.bytes).unwrap();
        assert!(text.contains("app.js") && text.contains("app.css"), "{text}");
        assert!(file("../Cargo.toml").is_none() && file("app.ts").is_none());
    }
}
