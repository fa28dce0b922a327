//! Finds the payload of an answer: without reasoning, special tokens, fences, and the words around them.

/// The payload of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    /// The contents of the fenced blocks; the whole text if there is no fence.
    pub(super) bodies: Vec<&'a str>,
    /// Whether there are words outside of the blocks.
    pub(super) has_words_around: bool,
}

const FENCE: &str = "```";

/// Returns the text without the remains of reasoning and the special tokens at its end; `None` if the reasoning has no
/// end, since what the model only considers is no answer.
pub(super) fn without_reasoning(text: &str) -> Option<&str> {
    let mut text = text.trim();
    const ENDS: [&str; 3] = ["<|im_end|>", "<|endoftext|>", "<|end|>"];
    while let Some(rest) = ENDS.iter().find_map(|end| text.strip_suffix(end)) {
        text = rest.trim_end();
    }
    // The template may have opened the reasoning, so that the answer has only its end.
    if let Some((reasoning, rest)) = text.split_once("</think>") {
        let is_payload = reasoning.trim_start().starts_with(['[', '{', '`']);
        return Some(if is_payload { text } else { rest.trim_start() });
    }
    (!text.starts_with("<think>")).then_some(text)
}

/// Returns the fenced blocks in one of `languages`; those in other languages if there are none.
/// A text that begins with one of `starts` has no fence.
pub(super) fn payload<'a>(text: &'a str, languages: &[&str], starts: &[char]) -> Payload<'a> {
    let text = text.trim();
    if text.starts_with(starts) || !text.contains(FENCE) {
        let body = text.strip_suffix(FENCE).map_or(text, str::trim_end);
        return Payload { bodies: vec![body], has_words_around: false };
    }
    let (mut blocks, mut has_words_around) = (Vec::new(), false);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(FENCE) {
        has_words_around |= has_words(before);
        let language_end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && !"+-_".contains(c))
            .unwrap_or(after.len());
        let (language, after) = after.split_at(language_end);
        let (body, next) = split_at_end(after);
        blocks.push((language, body.trim()));
        rest = next;
    }
    has_words_around |= has_words(rest);
    let is_wanted = |(language, _): &&(&str, &str)| {
        languages.iter().any(|wanted| wanted.eq_ignore_ascii_case(language))
    };
    let mut bodies: Vec<_> = blocks.iter().filter(is_wanted).map(|(_, body)| *body).collect();
    if bodies.is_empty() {
        bodies = blocks.iter().map(|(_, body)| *body).filter(|body| !body.is_empty()).collect();
    } else {
        has_words_around |= blocks.len() > bodies.len();
    }
    Payload { bodies, has_words_around }
}

/// Returns the text within a fence around all of it, which other fences may be in, and whether words were outside.
/// Any of `languages` makes a fence; one without a language must be around the whole text.
pub(super) fn unwrapped<'a>(text: &'a str, languages: &[&str]) -> (&'a str, bool) {
    let text = text.trim();
    let opening = |at: usize| {
        let line = text[at + FENCE.len()..].lines().next().unwrap_or_default().trim();
        languages.iter().any(|language| language.eq_ignore_ascii_case(line))
    };
    let at_line = |at: &usize| text[..*at].ends_with('\n') || *at == 0;
    let named = text.match_indices(FENCE).map(|(at, _)| at).find(|at| at_line(at) && opening(*at));
    let is_plain = || {
        text.starts_with(FENCE) && text.len() > 6 && text.ends_with(FENCE) && {
            let inner = &text[FENCE.len()..text.len() - FENCE.len()];
            inner.starts_with('\n') && !inner.contains(FENCE)
        }
    };
    let Some(at) = named.or_else(|| is_plain().then_some(0)) else {
        return (text, false);
    };
    let body = text[at + FENCE.len()..].split_once('\n').map_or("", |(_, body)| body);
    let end = closings(body).last();
    let (body, after) = end.map_or((body, ""), |(start, end)| (&body[..start], &body[end..]));
    (body.trim(), has_words(&text[..at]) || has_words(after))
}

/// Splits a text behind an opening fence at the closing one: a line of its own, or else the last fence.
fn split_at_end(text: &str) -> (&str, &str) {
    if let Some((start, end)) = closings(text).next() {
        return (&text[..start], &text[end..]);
    }
    text.rsplit_once(FENCE).unwrap_or((text, ""))
}

/// Returns where the fences are that have a line of their own, behind the first line.
fn closings(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let at = next;
        next += line.len();
        let start = at + line.len() - line.trim_start().len();
        (at > 0 && line.trim() == FENCE).then_some((start, start + FENCE.len()))
    })
}

fn has_words(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> (Vec<&str>, bool) {
        let payload = payload(text, &["json"], &['[', '{']);
        (payload.bodies, payload.has_words_around)
    }

    #[test]
    fn fences_are_found_or_none() {
        for (text, bodies, words) in [
            ("[1]", vec!["[1]"], false),
            ("```json\n[1]\n```", vec!["[1]"], false),
            ("```\n[1]\n```", vec!["[1]"], false),
            ("```json [1] ```", vec!["[1]"], false),
            ("```json[1]```", vec!["[1]"], false),
            ("```json\n[1]", vec!["[1]"], false),
            ("[1]\n```", vec!["[1]"], false),
            ("Here:\n```json\n[1]\n```", vec!["[1]"], true),
            ("```json\n[1]\n```\nDone.", vec!["[1]"], true),
            ("```json\n[1]\n```\n```json\n[2]\n```", vec!["[1]", "[2]"], false),
            ("```python\nx\n```\n```JSON\n[2]\n```", vec!["[2]"], true),
            (r#"[{"text": "```js"}]"#, vec![r#"[{"text": "```js"}]"#], false),
            ("```json\n{\"a\": \"```\"}\n```", vec!["{\"a\": \"```\"}"], false),
            ("no", vec!["no"], false),
            ("```", vec![], false),
        ] {
            assert_eq!(json(text), (bodies, words), "{text:?}");
        }
    }

    #[test]
    fn a_fence_around_markdown_may_have_fences_in_it() {
        let languages = ["markdown", "md"];
        for (text, body, words) in [
            ("# A", "# A", false),
            ("```markdown\n# A\n```", "# A", false),
            ("```markdown\n# A\n```py\nx\n```\nB\n```", "# A\n```py\nx\n```\nB", false),
            ("# A\n```py\nx\n```", "# A\n```py\nx\n```", false),
            ("Here:\n```md\n# A\n```\nDone", "# A", true),
            ("```\nA\n```", "A", false),
            ("```\nA\n```\nB", "```\nA\n```\nB", false),
            ("```markdown\n# A", "# A", false),
        ] {
            assert_eq!(unwrapped(text, &languages), (body, words), "{text:?}");
        }
    }

    #[test]
    fn reasoning_and_special_tokens_are_taken_off() {
        for (text, rest) in [
            ("<think>\nhm\n</think>\n\n[1]", "[1]"),
            ("hm\n</think>\n[1]", "[1]"),
            ("[1]<|im_end|>", "[1]"),
            ("[1]<|im_end|>\n<|endoftext|>", "[1]"),
            (r#"{"text": "</think>"}"#, r#"{"text": "</think>"}"#),
        ] {
            assert_eq!(without_reasoning(text), Some(rest), "{text:?}");
        }
        assert_eq!(without_reasoning("<think>I could call [1]"), None);
    }
}
