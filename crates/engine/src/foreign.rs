//! Recognizes files that are in the place of a model's file and are something else.

/// The kind of a file that is not a model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A pointer that Git checks out instead of a large file, without Git LFS.
    LfsPointer,
    /// A page of a website.
    WebPage,
}

/// Returns the kind of a file with this beginning, if it is one of these.
pub(crate) fn kind(beginning: &[u8]) -> Option<Foreign> {
    if beginning.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some(Foreign::LfsPointer);
    }
    let text = beginning.trim_ascii_start();
    let begins = |tag: &[u8]| text.get(..tag.len()).is_some_and(|b| b.eq_ignore_ascii_case(tag));
    (begins(b"<!doctype html") || begins(b"<html")).then_some(Foreign::WebPage)
}

impl Foreign {
    /// Describes a file of `len` bytes, and the remedy.
    pub(crate) fn describe(self, len: u64) -> String {
        match self {
            Self::LfsPointer => format!(
                "it is a Git LFS pointer of {len} bytes, which stands for the file: run `git lfs pull` in its \
                 folder, or download the file itself"
            ),
            Self::WebPage => format!(
                "it is a web page of {len} bytes, not the file that the page is about: download the file \
                 itself (on the hub its address has /resolve/ in it, not /blob/)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lfs_pointers_and_web_pages_are_recognized() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n";
        assert_eq!(kind(pointer), Some(Foreign::LfsPointer));
        assert_eq!(kind(b"\n<!DOCTYPE HTML>\n<html>"), Some(Foreign::WebPage));
        assert_eq!(kind(b"<html lang=en>"), Some(Foreign::WebPage));
        for other in [b"GGUF\x03\0\0\0".as_slice(), b"", b"version", b"{}", b"<", b"PK\x03\x04"] {
            assert_eq!(kind(other), None);
        }
    }
}
