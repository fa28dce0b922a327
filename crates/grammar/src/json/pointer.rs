//! JSON pointers (RFC 6901): places in schemas and targets of `$ref`.

use serde_json::Value;

/// Appends a step to a pointer.
pub(super) fn join(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

/// Returns the steps of a pointer, or `None` if it is invalid.
pub(super) fn steps(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

/// Decodes `~1` to `/` and `~0` to `~`; no other escape is valid.
fn unescape(step: &str) -> Option<String> {
    let mut pieces = step.split('~');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (char, rest) = match piece.strip_prefix('0') {
            Some(rest) => ('~', rest),
            None => ('/', piece.strip_prefix('1')?),
        };
        text.push(char);
        text.push_str(rest);
    }
    Some(text)
}

/// Returns the value to which the steps lead.
pub(super) fn follow<'a>(root: &'a Value, steps: &[String]) -> Option<&'a Value> {
    steps.iter().try_fold(root, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(items) => {
            let is_index = step == "0" || !step.starts_with(['0', '+']);
            items.get(step.parse::<usize>().ok().filter(|_| is_index)?)
        }
        _ => None,
    })
}

/// Decodes the `%XX` of a URI's fragment; returns `None` if the result is not UTF-8.
pub(super) fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first == b'%' {
            let digits = more.get(..2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_resolve_as_in_rfc_6901() {
        // The example of section 5 of the RFC.
        let document = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
            " ": 7, "m~n": 8, "~1": 9,
        });
        for (pointer, expected) in [
            ("", Some(document.clone())),
            ("/foo/0", Some(json!("bar"))),
            ("/", Some(json!(0))),
            ("/a~1b", Some(json!(1))),
            ("/c%d", Some(json!(2))),
            ("/k\"l", Some(json!(6))),
            ("/ ", Some(json!(7))),
            ("/m~0n", Some(json!(8))),
            ("/~01", Some(json!(9))),
            ("/foo/2", None),
            ("/foo/01", None),
            ("/foo/+1", None),
            ("/foo/-", None),
            ("/m~n", None),
            ("/m~2n", None),
            ("foo", None),
        ] {
            let found = steps(pointer).and_then(|steps| follow(&document, &steps).cloned());
            assert_eq!(found, expected, "{pointer}");
        }
        for key in ["", "a/b", "m~n", "~1", "é"] {
            assert_eq!(steps(&join("", key)), Some(vec![key.to_owned()]));
        }
    }

    #[test]
    fn percent_encoded_fragments_are_decoded() {
        for (fragment, expected) in [
            ("/a%20b", Some("/a b")),
            ("/c%25d", Some("/c%d")),
            ("/%C3%A9", Some("/é")),
            ("/%7E1", Some("/~1")),
            ("/%", None),
            ("/%4", None),
            ("/%+1", None),
            ("/%ff", None),
        ] {
            assert_eq!(percent_decoded(fragment).as_deref(), expected, "{fragment}");
        }
    }
}
