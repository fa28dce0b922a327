//! Resolves `$ref`s within a document.

use serde_json::{Map, Value};

use super::pointer;

/// A schema document and its anchors.
#[derive(Debug)]
pub(super) struct Document<'a> {
    root: &'a Value,
    draft: u32,
    /// `$anchor`s, with the pointers to their schemas.
    anchors: Vec<(&'a str, String)>,
}

impl<'a> Document<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        let draft = root.as_object().and_then(draft_of).unwrap_or(2020);
        let mut anchors = Vec::new();
        find_anchors(root, "", &mut anchors);
        Self { root, draft, anchors }
    }

    /// Returns the draft of JSON Schema in which a schema of the document is written: 4 to 7, 2019 or 2020.
    pub(super) fn draft(&self, schema: &Map<String, Value>) -> u32 {
        draft_of(schema).unwrap_or(self.draft)
    }

    /// Resolves a reference at `from`, or returns why it can't be resolved.
    pub(super) fn follow(
        &self,
        from: &str,
        reference: &str,
    ) -> Result<(String, &'a Value), String> {
        if let Some(at) = self.embedded(from) {
            return Err(format!(
                "'{reference}' is relative to the $id at {at}; a schema with an $id of its own \
                 within a schema is not supported"
            ));
        }
        let own = self.root.get("$id").and_then(Value::as_str).unwrap_or_default();
        let own = own.trim_end_matches('#');
        let is_fragment = |rest: &&str| rest.is_empty() || rest.starts_with('#');
        let local = Some(reference).filter(is_fragment);
        let local = local.or_else(|| reference.strip_prefix(own).filter(is_fragment));
        let Some(fragment) = local.map(|local| local.trim_start_matches('#')) else {
            return Err(format!(
                "'{reference}' is not a place in the same schema, which begins with '#'"
            ));
        };
        let unknown = || format!("'{reference}' does not exist in the schema");
        let fragment = pointer::percent_decoded(fragment).ok_or_else(unknown)?;
        let pointer = if fragment.is_empty() || fragment.starts_with('/') {
            fragment
        } else {
            let mut named = self.anchors.iter().filter(|(name, _)| *name == fragment);
            match (named.next(), named.next()) {
                (Some((_, pointer)), None) => pointer.clone(),
                _ => return Err(unknown()),
            }
        };
        let steps = pointer::steps(&pointer).ok_or_else(unknown)?;
        let target = pointer::follow(self.root, &steps).ok_or_else(unknown)?;
        // Normalize the pointer, so that each place has one spelling.
        let pointer = steps.iter().fold(String::new(), |at, step| pointer::join(&at, step));
        Ok((pointer, target))
    }

    /// Returns the place of a schema around `from` that has its own `$id`, to which references in it are
    /// relative.
    fn embedded(&self, from: &str) -> Option<String> {
        let (mut value, mut at) = (self.root, String::new());
        for step in pointer::steps(from)? {
            at = pointer::join(&at, &step);
            value = pointer::follow(value, &[step])?;
            let has_id = |key| value.get(key).and_then(Value::as_str).is_some();
            if has_id("$id") || (self.draft == 4 && has_id("id")) {
                return Some(at);
            }
        }
        None
    }
}

fn draft_of(schema: &Map<String, Value>) -> Option<u32> {
    let name = schema.get("$schema")?.as_str()?.trim_end_matches('#');
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    match name {
        "json-schema.org/draft-04/schema" => Some(4),
        "json-schema.org/draft-06/schema" => Some(6),
        "json-schema.org/draft-07/schema" => Some(7),
        "json-schema.org/draft/2019-09/schema" => Some(2019),
        _ => None,
    }
}

/// Keywords whose values are not schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

fn find_anchors<'a>(value: &'a Value, at: &str, found: &mut Vec<(&'a str, String)>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("$anchor") {
                found.push((name, at.to_owned()));
            }
            for (key, value) in map.iter().filter(|(key, _)| !DATA.contains(&key.as_str())) {
                find_anchors(value, &pointer::join(at, key), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_anchors(item, &pointer::join(at, &index.to_string()), found);
            }
        }
        _ => {}
    }
}
