//! Embeddings of texts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The embedding of a text. Stored as OpenAI's `encoding_format: base64` sends it: the base64 of its numbers as
/// 32-bit floats, little-endian, which takes a third of the space of decimal numbers and loses nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(pub Vec<f32>);

impl Embedding {
    /// Returns the stored form.
    pub fn to_base64(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().flat_map(|number| number.to_le_bytes()).collect();
        STANDARD.encode(bytes)
    }

    /// Reads the stored form; the error says what is wrong with it.
    fn from_base64(text: &str) -> Result<Self, String> {
        let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(format!("{} bytes are no whole number of floats", bytes.len()));
        }
        Ok(Self(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }
}

impl Serialize for Embedding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for Embedding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text)
            .map_err(|problem| D::Error::custom(format!("an embedding is malformed: {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_is_stored_as_little_endian_floats_in_base64() {
        let embedding = Embedding(vec![1.0, -0.5, f32::MIN_POSITIVE]);
        let text = serde_json::to_string(&embedding).unwrap();
        assert_eq!(text, r#""AACAPwAAAL8AAIAA""#);
        assert_eq!(serde_json::from_str::<Embedding>(&text).unwrap(), embedding);
        for malformed in [r#""AAA=""#, r#""?""#, "[1.0]"] {
            assert!(serde_json::from_str::<Embedding>(malformed).is_err(), "{malformed}");
        }
    }
}
