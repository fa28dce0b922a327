//! The text of managed keys: `qq-` and 32 random bytes in base64url.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};

/// The start of every managed key.
const START: &str = "qq-";
/// The length of 32 bytes in base64.
const DIGITS: usize = 43;
/// The number of characters of a key that are shown to recognize it by.
const SHOWN: usize = 8;

/// The system's random generator failed.
#[derive(Debug, thiserror::Error)]
#[error("the system has no random bytes")]
pub(crate) struct NoRandomness;

/// Returns 32 bytes from the system's generator, which are fit for keys.
pub(crate) fn random() -> Result<[u8; 32], NoRandomness> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// Creates the text of a key.
pub(crate) fn generate() -> Result<String, NoRandomness> {
    Ok(format!("{START}{}", BASE64.encode(random()?)))
}

/// Returns whether a text may be that of a managed key.
pub(super) fn is_managed(text: &str) -> bool {
    text.strip_prefix(START).is_some_and(|digits| {
        digits.len() == DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

/// Returns the start of a key's text, which is shown.
pub(crate) fn prefix(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_have_the_form_and_differ() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert!(is_managed(&one) && is_managed(&other) && one != other, "{one} {other}");
        assert_eq!(prefix("qq-abcdefgh"), "qq-abcde");
        for bad in ["", "qq-", "qq-00000000000000000000000000000000", &one[3..], &format!("{one}x")]
        {
            assert!(!is_managed(bad), "{bad}");
        }
        assert!(!is_managed(&one.replace("qq-", "qq_")));
    }
}
