//! Patterns: regular expressions in the dialect of JSON Schema (ECMA-262), searched for in a text.
//!
//! The compiler uses another dialect. So classes that differ are spelled out, and syntax that has
//! another meaning there, or none, is refused.

use std::fmt::Write;

use llguidance::derivre::RegexAst;
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, Flag,
    FlagsItemKind, GroupKind, Span,
};

use super::regex::{anything, one_of, sequence};

/// White space by ECMA-262.
const SPACE: &str =
    r"\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
/// Everything but the line ends of ECMA-262, which `.` does not match.
const ANY_EXCEPT_LINE_END: &str = r"[^\n\r\u{2028}\u{2029}]";

/// Returns an expression for the texts in which a pattern is found, or why it is not supported.
pub(super) fn search(pattern: &str) -> Result<RegexAst, String> {
    let ast = Parser::new().parse(pattern).map_err(|error| {
        format!("the pattern is not a regular expression without look-around: {}", error.kind())
    })?;
    branches(pattern, &ast)
}

/// Splits the alternatives, each of which has its own anchors.
fn branches(pattern: &str, ast: &Ast) -> Result<RegexAst, String> {
    match ast {
        Ast::Alternation(options) => {
            let options = options.asts.iter().map(|option| branches(pattern, option));
            Ok(one_of(options.collect::<Result<Vec<_>, _>>()?))
        }
        Ast::Group(group) if no_flags(&group.kind)? => branches(pattern, &group.ast),
        Ast::Concat(parts) => branch(pattern, &parts.asts),
        one => branch(pattern, std::slice::from_ref(one)),
    }
}

fn branch(pattern: &str, parts: &[Ast]) -> Result<RegexAst, String> {
    let is =
        |ast: &Ast, kind: &AssertionKind| matches!(ast, Ast::Assertion(one) if one.kind == *kind);
    let start = parts.iter().take_while(|part| is(part, &AssertionKind::StartLine)).count();
    let parts = &parts[start..];
    let end = parts.iter().rev().take_while(|part| is(part, &AssertionKind::EndLine)).count();
    let parts = &parts[..parts.len() - end];
    let mut body = String::new();
    for part in parts {
        translate(pattern, part, &mut body)?;
    }
    let before = if start == 0 { anything() } else { RegexAst::EmptyString };
    let after = if end == 0 { anything() } else { RegexAst::EmptyString };
    Ok(sequence([before, RegexAst::Regex(body), after]))
}

/// Translates to the compiler's dialect. Its flags have their own scope, so each branch is a group.
fn translate(pattern: &str, ast: &Ast, out: &mut String) -> Result<(), String> {
    let text = |span: &Span| &pattern[span.start.offset..span.end.offset];
    match ast {
        Ast::Empty(_) => {}
        Ast::Flags(_) => return Err("flags in a pattern can't be kept".to_owned()),
        Ast::Literal(literal) => out.push_str(&regex_syntax::escape(&literal.c.to_string())),
        Ast::Dot(_) => out.push_str(ANY_EXCEPT_LINE_END),
        Ast::Assertion(one) => {
            return Err(format!(
                "'{}' in the midst of a pattern can't be kept, only '^' at its beginning and '$' at \
                 its end",
                text(&one.span)
            ));
        }
        Ast::ClassUnicode(class) => out.push_str(text(&class.span)),
        Ast::ClassPerl(class) => out.push_str(&perl(class)),
        Ast::ClassBracketed(class) => {
            out.push_str(if class.negated { "[^" } else { "[" });
            set(pattern, &class.kind, out)?;
            out.push(']');
        }
        Ast::Repetition(repetition) => {
            out.push_str("(?:");
            translate(pattern, &repetition.ast, out)?;
            out.push(')');
            out.push_str(text(&repetition.op.span));
        }
        Ast::Group(group) => {
            no_flags(&group.kind)?;
            out.push_str(match group.kind {
                GroupKind::NonCapturing(ref flags) if !flags.items.is_empty() => "(?i:",
                _ => "(?:",
            });
            translate(pattern, &group.ast, out)?;
            out.push(')');
        }
        Ast::Alternation(options) => {
            for (index, option) in options.asts.iter().enumerate() {
                out.push_str(if index == 0 { "(?:" } else { "|" });
                translate(pattern, option, out)?;
            }
            out.push(')');
        }
        Ast::Concat(parts) => {
            for part in &parts.asts {
                translate(pattern, part, out)?;
            }
        }
    }
    Ok(())
}

/// Returns whether a group has no flags; `i` is the only one that both dialects support.
fn no_flags(kind: &GroupKind) -> Result<bool, String> {
    let GroupKind::NonCapturing(flags) = kind else { return Ok(true) };
    let is_case = |item: &ast::FlagsItem| item.kind == FlagsItemKind::Flag(Flag::CaseInsensitive);
    match flags.items.iter().all(is_case) {
        true => Ok(flags.items.is_empty()),
        false => Err("flags in a pattern can't be kept".to_owned()),
    }
}

fn set(pattern: &str, set: &ClassSet, out: &mut String) -> Result<(), String> {
    match set {
        ClassSet::Item(item) => set_item(pattern, item, out),
        ClassSet::BinaryOp(operation) => {
            let span = operation.span;
            let text = &pattern[span.start.offset..span.end.offset];
            Err(format!("the character class [{text}] is ambiguous: escape its && or -- or ~~"))
        }
    }
}

fn set_item(pattern: &str, item: &ClassSetItem, out: &mut String) -> Result<(), String> {
    let mut char = |c: char| {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "\\u{{{:x}}}", c as u32);
    };
    match item {
        ClassSetItem::Empty(_) => {}
        ClassSetItem::Literal(literal) => char(literal.c),
        ClassSetItem::Range(range) => {
            char(range.start.c);
            out.push('-');
            let _ = write!(out, "\\u{{{:x}}}", range.end.c as u32);
        }
        ClassSetItem::Unicode(class) => {
            out.push_str(&pattern[class.span.start.offset..class.span.end.offset]);
        }
        ClassSetItem::Perl(class) => out.push_str(&perl(class)),
        ClassSetItem::Ascii(_) | ClassSetItem::Bracketed(_) => {
            return Err("a '[' within a character class is ambiguous: escape it".to_owned());
        }
        ClassSetItem::Union(items) => {
            for item in &items.items {
                set_item(pattern, item, out)?;
            }
        }
    }
    Ok(())
}

/// Translates `\d`, `\s`, `\w` and their negations, outside or inside a class.
fn perl(class: &ClassPerl) -> String {
    let chars = match class.kind {
        ClassPerlKind::Digit => "0-9",
        ClassPerlKind::Space => SPACE,
        ClassPerlKind::Word => "0-9A-Za-z_",
    };
    format!("[{}{chars}]", if class.negated { "^" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::super::regex::matches;
    use super::*;

    #[test]
    fn patterns_match_like_a_json_schema_validator() {
        let texts = [
            "", "a", "b", "ab", "ba", "abc", "a1", "1", "12", "é", "٣", "_", " ", "\u{a0}",
            "\u{feff}", "\u{85}", "\n", "a\nb", "a/b", "-", "A", "]", "x-y", "aa", "aab", "ac",
            "\\", "&", "a.b",
        ];
        for pattern in [
            "",
            "a",
            "^a",
            "a$",
            "^a$",
            "^a|b$",
            "^(a|b)$",
            "(^a|^b)",
            "^(?:a|b1?)+$",
            r"\d",
            r"\D",
            r"^\w+$",
            r"\W",
            r"^\s$",
            r"\S",
            ".",
            "^.$",
            "^[a-c]{2,3}$",
            r"^[\d_]+$",
            r"[^\d\s]",
            r"a\/b",
            r"^[\-a]$",
            "^$",
            "^|a",
            "(?i:a)$",
            r"^\u0061$",
            r"[\]]",
            r"^[^a]*$",
            "^^a$$",
            "a*?b",
            r"\\",
            r"[&]",
            "^a.b$",
            "a||b",
            "()",
        ] {
            let schema = serde_json::json!({"type": "string", "pattern": pattern});
            let judge = jsonschema::validator_for(&schema).unwrap();
            let ours = search(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in texts {
                let expected = judge.is_valid(&text.into());
                assert_eq!(matches(&ours, text), Some(expected), "{pattern:?} in {text:?}");
            }
        }
    }

    #[test]
    fn patterns_that_differ_between_regex_dialects_are_refused() {
        for (pattern, reason) in [
            ("(?=a)b", "look-around"),
            (r"(a)\1", "look-around"),
            ("a(b", "unclosed"),
            (r"\ba", "midst"),
            ("a^b", "midst"),
            ("(a$)b", "midst"),
            ("[a&&b]", "ambiguous"),
            ("[a[b]]", "ambiguous"),
            ("[[:alpha:]]", "ambiguous"),
            ("(?s:.)", "flags"),
            ("(?m)^a", "flags"),
            (r"\Aa", "midst"),
        ] {
            let error = search(pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }
}
