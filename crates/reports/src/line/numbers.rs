//! Parses the figures of a line.

use memchr::memchr;

/// Figures with hundredths are less than this.
pub(super) const MAX_WHOLE: u64 = 10_u64.pow(16);

/// Parses `50`, which has at most 18 digits.
pub(super) fn whole(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// Parses `2.30s` as 230.
pub(super) fn span(text: &[u8]) -> Option<u64> {
    hundredths(text.strip_suffix(b"s")?)
}

/// Parses `34.48` as 3448. Further digits are rounded.
pub(super) fn hundredths(text: &[u8]) -> Option<u64> {
    let point = memchr(b'.', text).unwrap_or(text.len());
    let (head, fraction) = (&text[..point], text.get(point + 1..));
    if fraction.is_some_and(|digits| digits.is_empty() || !digits.iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let digit =
        |nth: usize| fraction.and_then(|digits| digits.get(nth)).map_or(0, |byte| byte - b'0');
    let rounded = u64::from(digit(0)) * 10 + u64::from(digit(1)) + u64::from(digit(2) >= 5);
    let head = whole(head).filter(|head| *head < MAX_WHOLE)?;
    Some(head * 100 + rounded)
}
