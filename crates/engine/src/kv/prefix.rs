//! Keys of full pages for the prefix cache.

use sha2::{Digest, Sha256};

use crate::layout::AdapterId;

/// The key of a full page: a hash of the tenant, the adapter, all tokens and injected rows before the
/// page, and its own.
///
/// Equal keys mean equal keys and values, and a page of one tenant is never found by another. This
/// depends on SHA-256 alone: with a collision a tenant could read another's prompt, so a shorter
/// hash is not an option.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageKey([u8; 32]);

impl PageKey {
    /// Returns the start of the hash chain of a tenant's prompts. It is the key of no page.
    pub fn root(tenant: &str) -> Self {
        Self(Sha256::digest(tenant.as_bytes()).into())
    }

    /// Returns the start of the hash chain for prompts computed with an adapter, whose keys and
    /// values differ from the base model's.
    pub fn adapted(&self, adapter: AdapterId) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        // Shorter than the tokens of any page, so it cannot equal a page's key.
        hash.update(adapter.salt());
        Self(hash.finalize().into())
    }

    /// Returns the key of the page that holds `tokens` and follows the page with this key.
    pub fn next(&self, tokens: &[u32]) -> Self {
        self.next_with(tokens, [])
    }

    /// Returns the key of the page that holds `tokens`, some of which are placeholders of injected rows, and
    /// follows the page with this key. `injected` lists those rows in ascending order.
    pub fn next_with(
        &self,
        tokens: &[u32],
        injected: impl IntoIterator<Item = InjectedContent>,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        // Every page has the same number of tokens, so what follows them can't be mistaken for tokens.
        for InjectedContent { row, hash: of_content, offset } in injected {
            hash.update(row.to_le_bytes());
            hash.update(of_content);
            hash.update(offset.to_le_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// The content of a row of a page that is injected in place of a token's embedding, such as a row of an
/// image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectedContent {
    /// The row's index in the page.
    pub row: u32,
    /// A SHA-256 hash of everything that the injected rows are computed from: the image's bytes, its size
    /// after preprocessing and the model.
    pub hash: [u8; 32],
    /// The row's index among the rows that are injected for this hash.
    pub offset: u32,
}

impl std::fmt::Debug for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageKey({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_key_depends_on_tenant_adapter_prefix_and_tokens() {
        let root = PageKey::root("a");
        let page = root.next(&[1, 2]);
        assert_eq!(page, PageKey::root("a").next(&[1, 2]));
        assert_ne!(page, PageKey::root("b").next(&[1, 2]));
        let [one, other] = [0, 1].map(|place| root.adapted(AdapterId::new(place)));
        assert!(one != root && one != other && one.next(&[1, 2]) != page);
        assert_ne!(one.next(&[1, 2]), other.next(&[1, 2]));
        assert_ne!(page, root.next(&[2, 1]));
        assert_ne!(page.next(&[3]), root.next(&[1]).next(&[3]));
    }

    #[test]
    fn page_key_depends_on_the_content_injected_at_placeholders() {
        let root = PageKey::root("a");
        let content = |hash: u8, offset| InjectedContent { row: 1, hash: [hash; 32], offset };
        let page = root.next_with(&[1, 9], [content(5, 0)]);
        assert_eq!(page, root.next_with(&[1, 9], [content(5, 0)]));
        for other in [
            root.next(&[1, 9]),
            root.next_with(&[1, 9], [content(6, 0)]),
            root.next_with(&[1, 9], [content(5, 1)]),
            root.next_with(&[1, 9], [InjectedContent { row: 0, ..content(5, 0) }]),
            root.next_with(&[2, 9], [content(5, 0)]),
        ] {
            assert_ne!(page, other);
        }
    }
}
