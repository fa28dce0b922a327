//! Names full pages by all that was read up to their end.

use sha2::{Digest, Sha256};

/// The name of a full page: a hash over the tenant, everything before the page, and its tokens.
///
/// Equal keys mean equal keys and values, and a page of one tenant is never found by another. That
/// rests on SHA-256 alone: whoever finds a collision could read another's prompt, so nothing
/// shorter will do.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageKey([u8; 32]);

impl PageKey {
    /// What stands before the first page of a tenant's prompts; names no page.
    pub fn root(tenant: &str) -> Self {
        Self(Sha256::digest(tenant.as_bytes()).into())
    }

    /// The name of the page that holds `tokens` and follows the page of this name.
    pub fn next(&self, tokens: &[u32]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for token in tokens {
            hash.update(token.to_le_bytes());
        }
        Self(hash.finalize().into())
    }
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
    fn a_key_depends_on_the_tenant_the_past_and_the_tokens() {
        let root = PageKey::root("a");
        let page = root.next(&[1, 2]);
        assert_eq!(page, PageKey::root("a").next(&[1, 2]));
        assert_ne!(page, PageKey::root("b").next(&[1, 2]));
        assert_ne!(page, root.next(&[2, 1]));
        assert_ne!(page.next(&[3]), root.next(&[1]).next(&[3]));
    }
}
