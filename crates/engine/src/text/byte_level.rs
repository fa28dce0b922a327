//! GPT-2's byte-level alphabet: each byte is written as one printable character, so that the texts of a
//! vocabulary can represent any bytes (openai/gpt-2, `encoder.py`, `bytes_to_unicode`).

use std::sync::LazyLock;

/// The characters of the bytes 0 to 255, in that order.
static CHARS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut chars = ['\0'; 256];
    let mut moved = 0;
    for (byte, slot) in (0u8..=255).zip(&mut chars) {
        *slot = if matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) {
            char::from(byte)
        } else {
            moved += 1;
            char::from_u32(0xFF + moved).unwrap_or('\0') // 0x100 ..= 0x143: always a character
        };
    }
    chars
});

/// The bytes of the characters U+0000 to U+0143; `None` for characters outside the alphabet.
static BYTES: LazyLock<[Option<u8>; 0x144]> = LazyLock::new(|| {
    let mut bytes = [None; 0x144];
    for (byte, &char) in (0u8..=255).zip(CHARS.iter()) {
        bytes[char as usize] = Some(byte);
    }
    bytes
});

/// Returns the character that represents a byte.
pub(crate) fn char_of(byte: u8) -> char {
    CHARS[usize::from(byte)]
}

/// Appends `text` in the byte-level alphabet to `out`.
pub(super) fn write(text: &str, out: &mut String) {
    out.extend(text.bytes().map(char_of));
}

/// Returns the bytes that a token's text represents. A text with a character outside the alphabet represents
/// its own UTF-8 bytes, as in Hugging Face's decoder.
pub(super) fn bytes_of(token: &str) -> Vec<u8> {
    token
        .chars()
        .map(|char| BYTES.get(char as usize).copied().flatten())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_round_trips() {
        for byte in 0..=255 {
            assert_eq!(bytes_of(&char_of(byte).to_string()), [byte]);
        }
        assert_eq!(char_of(b' '), 'Ġ');
        assert_eq!(char_of(b'\n'), 'Ċ');
        assert_eq!(bytes_of("Ġé"), b" \xE9");
        assert_eq!(bytes_of("日"), "日".as_bytes());
    }
}
