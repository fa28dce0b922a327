//! Parses `.env` by the rules of docs/CONFIGURATION.md; pure.
//!
//! Does not use `dotenvy`, which always expands `$` and drops backslashes, so that a key could
//! become another, weaker one, and which does not report line numbers. A test checks that both
//! parsers agree on files without these.

use super::file::{BadLine, Contents, Entry, Written};

/// Returns the variables in `text`, and the lines that cannot be parsed.
pub(super) fn entries(text: &str) -> Contents {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let mut rest = Rest { text, line: 1 };
    while !rest.text.is_empty() {
        let line = rest.line;
        match entry(&mut rest) {
            Ok(found) => entries.extend(found),
            Err((name, what)) => {
                bad.push(BadLine { line, name, what });
                rest.skip_line();
            }
        }
    }
    (entries, bad)
}

/// The remaining text.
struct Rest<'a> {
    text: &'a str,
    line: usize,
}

impl Rest<'_> {
    /// Consumes the next character.
    fn next(&mut self) -> Option<char> {
        let next = self.text.chars().next()?;
        self.text = &self.text[next.len_utf8()..];
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// Consumes the rest of the line with its end.
    fn skip_line(&mut self) {
        while self.next().is_some_and(|next| next != '\n') {}
    }

    /// Consumes blanks on the current line.
    fn skip_blanks(&mut self) {
        while self.text.starts_with(|next: char| next != '\n' && next.is_whitespace()) {
            self.next();
        }
    }

    /// Returns the rest of the line.
    fn this_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// Parses one line, or several if a quoted value spans them. Returns `None` for a blank line or a
/// comment.
fn entry(rest: &mut Rest<'_>) -> Result<Option<Entry>, (Option<String>, String)> {
    rest.skip_blanks();
    if rest.this_line().is_empty() || rest.text.starts_with('#') {
        rest.skip_line();
        return Ok(None);
    }
    let line = rest.line;
    let Some((left, _)) = rest.this_line().split_once('=') else {
        let what = "this line is not NAME=value: correct it, or begin it with # for a comment";
        return Err((None, what.to_owned()));
    };
    let (left, length) = (left.trim_end(), left.len() + 1);
    let name = match left.split_once(char::is_whitespace) {
        Some(("export", name)) => name.trim_start(),
        _ => left,
    }
    .to_owned();
    // The text before the = may be a secret, so it is not shown.
    if name.is_empty() || name.contains(char::is_whitespace) {
        let what = "the text before the = is not a name: write NAME=value";
        return Err((None, what.to_owned()));
    }
    rest.text = &rest.text[length..];
    rest.skip_blanks();
    let value = match rest.text.chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(rest, quote),
        _ => Ok(unquoted(rest.this_line())),
    };
    let value = value.map_err(|what| (Some(name.clone()), what))?;
    rest.skip_line();
    Ok(Some(Entry { name, value: Written::One(value), line }))
}

/// Returns the value up to a comment, which is a # at the start or after a blank.
fn unquoted(line: &str) -> String {
    let mut before = ' ';
    let comment = line.char_indices().find(|(_, here)| {
        let begins = *here == '#' && before.is_whitespace();
        before = *here;
        begins
    });
    line[..comment.map_or(line.len(), |(at, _)| at)].trim_end().to_owned()
}

/// Returns the value between quotes. Only a comment may follow them.
fn quoted(rest: &mut Rest<'_>, quote: char) -> Result<String, String> {
    let before = (rest.text, rest.line);
    rest.next();
    let mut value = String::new();
    loop {
        match rest.next() {
            None => {
                // Skips only this line, because nothing shows where the value was meant to end.
                (rest.text, rest.line) = before;
                return Err(format!("the {quote} that opens the value is never closed: close it"));
            }
            Some(next) if next == quote => break,
            Some('\\') if quote == '"' => value.push(match rest.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(same @ ('\\' | '"' | '\'' | '$')) => same,
                _ => {
                    return Err(
                        "a \\ in double quotes begins an escape, but this escape is unknown: write \\\\ for \
                         a backslash, or use single quotes"
                            .to_owned(),
                    );
                }
            }),
            // Part of a Windows line end.
            Some('\r') if rest.text.starts_with('\n') => {}
            Some(next) => value.push(next),
        }
    }
    rest.skip_blanks();
    if !rest.this_line().is_empty() && !rest.text.starts_with('#') {
        return Err(format!(
            "text follows the {quote} that closes the value (in line {}), but only a comment may; \
             put the whole value into quotes of the other kind",
            rest.line
        ));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let (entries, bad) = entries(text);
        assert!(bad.is_empty(), "{text:?}: {bad:?}");
        let pair = |entry: Entry| match entry.value {
            Written::One(value) => (entry.name, value),
            Written::Several(_) => unreachable!("only YAML has lists"),
        };
        entries.into_iter().map(pair).collect()
    }

    #[test]
    fn dotenv_values_without_expansion_match_dotenvy() {
        let text = "# a comment\n\nA=1\n  B = two # and a comment\nexport C='single # $x \"q\"'\n\
                    D=\"double # 'q'\\n\\\"\\\\ \\$x\"\nE=\nF=''\nG=a#b\nH= #c\nI=\"over\ntwo lines\"\nJ=1==2\n\
                    K=\"x\" # behind\nL=ünï\r\nM=1\r\n";
        let theirs: Vec<_> = dotenvy::Iter::new(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(pairs(text), theirs);
        assert_eq!(theirs.len(), 13);
    }

    #[test]
    fn dotenv_values_that_dotenvy_would_change_are_kept_verbatim() {
        let text = "A=pa$HOME\nB=\"${HOME}x\"\nC=back\\slash\nD=it's\nE=a\"b\"c\nF=$A";
        let values: Vec<_> = pairs(text).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["pa$HOME", "${HOME}x", "back\\slash", "it's", "a\"b\"c", "$A"]);
    }

    #[test]
    fn malformed_line_is_reported_by_number_and_others_are_read() {
        let text = "sesame open\nA=1\nB=\"x\ny=2\nC='a'b\nD=\"\\m\"\nmy key=5\n=6\nE=7\n";
        let (good, bad) = entries(text);
        let lines: Vec<_> = bad.iter().map(|bad| bad.line).collect();
        // The quote in line 3 is closed in line 6, where text follows it.
        assert_eq!(lines, [1, 3, 7, 8], "{bad:?}");
        assert_eq!(good.iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 9]);
        assert!(
            bad[1].name.as_deref() == Some("B") && bad[1].what.contains("in line 6"),
            "{bad:?}"
        );
        assert!(bad.iter().all(|bad| !bad.what.contains("sesame") && !bad.what.contains("my key")));

        let (good, bad) = entries("A=\"never closed\nB=2\n");
        assert_eq!((bad[0].line, good[0].line), (1, 2), "{bad:?}");
        let (_, bad) = entries("P=\"C:\\models\"\n");
        assert!(bad[0].what.contains("single quotes"), "{bad:?}");
    }
}
