//! What of HTML may be shown in a browser: known elements and attributes alone, with everything else escaped.
//!
//! The cleaned HTML is written from tokens, never copied, so that nothing in it is a tag unless this file allows it.

/// Elements that are kept. The contents of others are kept without them.
const ELEMENTS: [&str; 51] = [
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "div",
    "span",
    "br",
    "hr",
    "table",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "th",
    "td",
    "caption",
    "colgroup",
    "col",
    "ol",
    "ul",
    "li",
    "dl",
    "dt",
    "dd",
    "b",
    "strong",
    "i",
    "em",
    "u",
    "s",
    "sub",
    "sup",
    "small",
    "code",
    "pre",
    "blockquote",
    "a",
    "img",
    "figure",
    "figcaption",
    "section",
    "article",
    "header",
    "footer",
    "q",
    "cite",
    "mark",
    "address",
];
/// Elements without contents.
const EMPTY: [&str; 4] = ["br", "hr", "img", "col"];
/// Properties of styles that are kept. Colours are not: the cookbook of Qwen2.5-VL takes them out.
const PROPERTIES: [&str; 6] =
    ["text-align", "font-weight", "font-style", "text-decoration", "vertical-align", "text-indent"];

/// Returns whether an element is kept.
pub(super) fn is_kept(name: &str) -> bool {
    ELEMENTS.contains(&name)
}

/// Returns whether an element has no contents.
pub(super) fn is_empty(name: &str) -> bool {
    EMPTY.contains(&name)
}

/// Returns the value with which an attribute is kept, unescaped.
pub(super) fn attribute(element: &str, name: &str, value: &str) -> Option<String> {
    let is_number = |value: &str| {
        (1..=5).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
    };
    let value = decoded(value);
    match (element, name) {
        (_, "style") => style(&value),
        (_, "dir" | "lang") => Some(value)
            .filter(|value| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')),
        ("td" | "th", "colspan" | "rowspan")
        | ("ol", "start")
        | ("col" | "colgroup", "span")
        | ("img", "width" | "height") => {
            Some(value.trim().to_owned()).filter(|value| is_number(value))
        }
        ("img", "alt") => Some(value),
        ("a", "href") => link(&value),
        _ => None,
    }
}

/// Returns a link unless it runs something, such as `javascript:`.
fn link(value: &str) -> Option<String> {
    let link: String = value.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    let lower = link.get(..link.len().min(8)).unwrap_or(&link).to_ascii_lowercase();
    ["http://", "https://", "mailto:", "#"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
        .then_some(link)
}

fn style(value: &str) -> Option<String> {
    let is_plain = |value: &str| {
        !value.is_empty()
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" .%-".contains(&byte))
    };
    let kept: Vec<String> = value
        .split(';')
        .filter_map(|property| property.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .filter(|(name, value)| PROPERTIES.contains(&name.as_str()) && is_plain(value))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    (!kept.is_empty()).then(|| kept.join("; "))
}

/// Appends text with `<`, `>`, `&` and quotes as entities.
pub(super) fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '&' => into.push_str("&amp;"),
            '"' => into.push_str("&quot;"),
            other => into.push(other),
        }
    }
}

/// Returns text with the common entities as characters; others are kept as they are.
pub(super) fn decoded(text: &str) -> String {
    /// The longest entity that is read, behind its `&`.
    const LONGEST: usize = 10;
    let mut all = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        all.push_str(before);
        let end = after.bytes().take(LONGEST).position(|byte| byte == b';');
        match end.and_then(|end| Some((entity(after.get(..end)?)?, end))) {
            Some((character, end)) => {
                all.push(character);
                rest = &after[end + 1..];
            }
            None => {
                all.push('&');
                rest = after;
            }
        }
    }
    all.push_str(rest);
    all
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| !c.is_control())?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_run_or_load_something_are_left_out() {
        for (element, name, value, kept) in [
            ("a", "href", "https://example.org/?a=1&amp;b=2", Some("https://example.org/?a=1&b=2")),
            ("a", "href", "javascript:alert(1)", None),
            ("a", "href", " java\nscript:alert(1)", None),
            ("a", "href", "&#106;avascript:alert(1)", None),
            ("a", "href", "data:text/html,x", None),
            ("a", "onclick", "alert(1)", None),
            ("img", "src", "https://example.org/x.png", None),
            ("img", "alt", "a \"b\"", Some("a \"b\"")),
            ("td", "colspan", "2", Some("2")),
            ("td", "colspan", "2x", None),
            ("p", "style", "color: red; text-align: center", Some("text-align: center")),
            ("p", "style", "background: url(https://example.org)", None),
            ("p", "style", "text-align: expression(alert(1))", None),
            ("p", "id", "x", None),
        ] {
            assert_eq!(attribute(element, name, value).as_deref(), kept, "{name}={value}");
        }
    }

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(
            decoded("a &lt;b&gt; &amp;lt; &#65;&#x42; &nope; & &#0;"),
            "a <b> &lt; AB &nope; & &#0;"
        );
    }
}
