//! `usage`: what owners, keys and models used, by day.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use gateway::operators::Group;

use super::Shown;
use crate::client::admin::{Admin, Usage, UsageAmounts, UsageSum, understood};
use crate::output::Output;
use crate::table::{Align, Column, table};
use crate::text::{dash, printable, span};

/// The arguments of `usage`.
#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// The first day (UTC), such as 2026-11-01. By default, 30 days are printed.
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<String>,
    /// The last day (UTC). By default, today; at most 400 days.
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<String>,
    /// One line for each `owner` (the default), `key`, `model` or `day`, or for each combination of several.
    #[arg(long, value_delimiter = ',', value_parser = ["owner", "key", "model", "day"])]
    group_by: Vec<String>,
    /// Only the use of this owner.
    #[arg(long)]
    owner: Option<String>,
    /// Print comma-separated values, without the total.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    shown: Shown,
}

/// The columns of amounts: of a table, and of comma-separated values.
const AMOUNTS: [(&str, &str); 9] = [
    ("requests", "requests"),
    ("errors", "errors"),
    ("cancelled", "cancelled"),
    ("prompt", "prompt_tokens"),
    ("cached", "cached_tokens"),
    ("generated", "completion_tokens"),
    ("images", "images"),
    ("waited", "wait_s"),
    ("computed", "compute_s"),
];

/// Runs the command.
pub(crate) fn usage<O: Write, N: Write>(args: &UsageArgs, output: &mut Output<O, N>) -> Result<()> {
    let mut query = Vec::new();
    query.extend(args.from.clone().map(|day| ("from", day)));
    query.extend(args.to.clone().map(|day| ("to", day)));
    query.extend(args.owner.clone().map(|owner| ("owner", owner)));
    if !args.group_by.is_empty() {
        query.push(("group_by", args.group_by.join(",")));
    }
    let answer = Admin::new(&args.shown.target)?.usage(&query)?;
    args.shown.print(output, answer, |answer| {
        let usage: Usage = understood("/admin/usage", answer)?;
        Ok(if args.csv { csv(&usage) } else { page(&usage) })
    })
}

fn day(text: &str) -> Result<String, String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(text, format).map_err(|_| "expected a day such as 2026-11-01".to_owned())?;
    Ok(text.to_owned())
}

/// Formats a table, with the total as its last line.
fn page(usage: &Usage) -> String {
    let groups = usage.group_by.iter().map(|group| (group.as_str(), Align::Left));
    let amounts = AMOUNTS.iter().map(|(heading, _)| (*heading, Align::Right));
    let columns: Vec<Column> = groups.chain(amounts).collect();
    let cells = |groups: Vec<String>, amounts: &UsageAmounts| {
        let spans = [amounts.wait_s, amounts.compute_s].map(span);
        groups.into_iter().chain(numbers(amounts)).chain(spans).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> =
        usage.rows.iter().map(|row| cells(groups_of(row, &usage.group_by), &row.counts)).collect();
    if rows.len() != 1 {
        let mut groups = vec![String::new(); usage.group_by.len()];
        if let Some(first) = groups.first_mut() {
            "total".clone_into(first);
        }
        rows.push(cells(groups, &usage.total));
    }
    let (from, to) = (printable(&usage.from), printable(&usage.to));
    format!("from {from} to {to} (UTC)\n{}", table(&columns, &rows))
}

/// Formats comma-separated values (RFC 4180, but with `\n`).
fn csv(usage: &Usage) -> String {
    let groups = usage.group_by.iter().map(|group| group.as_str());
    let headings = groups.chain(AMOUNTS.iter().map(|(_, name)| *name)).collect::<Vec<_>>();
    let mut text = headings.join(",") + "\n";
    for row in &usage.rows {
        let seconds = [row.counts.wait_s, row.counts.compute_s].map(|seconds| seconds.to_string());
        let groups = groups_of(row, &usage.group_by).into_iter().map(|cell| quoted(&cell));
        let cells = groups.chain(numbers(&row.counts)).chain(seconds);
        text += &(cells.collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// Returns the cells that say whose use it is.
fn groups_of(row: &UsageSum, by: &[Group]) -> Vec<String> {
    let cell = |group: &Group| {
        let value = match group {
            Group::Owner => &row.owner,
            Group::Key => &row.key,
            Group::Model => &row.model,
            Group::Day => &row.day,
        };
        value.as_deref().map_or_else(dash, printable)
    };
    by.iter().map(cell).collect()
}

/// Returns the cells of all amounts but the times.
fn numbers(amounts: &UsageAmounts) -> [String; 7] {
    [
        amounts.requests,
        amounts.errors,
        amounts.cancelled,
        amounts.prompt_tokens,
        amounts.cached_tokens,
        amounts.completion_tokens,
        amounts.images,
    ]
    .map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;
    use crate::client::fake::{plain, server};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: UsageArgs,
    }

    fn answer() -> Value {
        let line = |owner: &str, day: &str, requests: u64| {
            json!({
                "owner": owner, "day": day, "requests": requests, "errors": 1, "cancelled": 2,
                "prompt_tokens": 30, "cached_tokens": 4, "completion_tokens": 500, "images": 6,
                "wait_s": 7.5, "compute_s": 80.25,
            })
        };
        let rows = [line("acme, \"inc\"\u{1b}", "2026-11-01", 9), line("b", "2026-11-02", 1)];
        json!({
            "from": "2026-11-01", "to": "2026-11-30", "group_by": ["owner", "day"], "rows": rows,
            "total": {"requests": 10, "wait_s": 15, "compute_s": 160.5},
        })
    }

    /// Returns what the command prints, and what it asked for.
    fn run(options: &[&str], answer: &Value) -> (String, String) {
        let (url, asked) = server(vec![plain("200 OK", &answer.to_string())]);
        let line = [&["usage", "--url", &url, "--admin-key", "operator"], options].concat();
        let mut output = Output::kept();
        usage(&Command::try_parse_from(line).unwrap().args, &mut output).unwrap();
        (output.into_texts().0, asked.join().unwrap().remove(0).head)
    }

    #[test]
    fn a_table_ends_with_the_total() {
        let options = ["--from", "2026-11-01", "--to", "2026-11-30", "--owner", "a b"];
        let (text, asked) = run(&[&options[..], &["--group-by", "owner,day"]].concat(), &answer());
        let query =
            "get /admin/usage?from=2026-11-01&to=2026-11-30&owner=a%20b&group_by=owner%2cday ";
        assert!(asked.starts_with(query), "{asked}");
        assert!(asked.contains("\nx-api-key: operator"), "{asked}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "from 2026-11-01 to 2026-11-30 (UTC)");
        assert!(lines[1].starts_with("owner              day         requests  errors"), "{text}");
        assert!(lines[2].starts_with("acme, \"inc\"\\u001b  2026-11-01         9"), "{text}");
        assert!(lines[4].starts_with("total                                10"), "{text}");
        assert!(lines[4].ends_with("15.0s     2m40s"), "{text}");
    }

    #[test]
    fn comma_separated_values_are_quoted_where_needed() {
        let (text, asked) = run(&["--csv"], &answer());
        assert!(asked.starts_with("get /admin/usage "), "{asked}");
        assert_eq!(
            text,
            "owner,day,requests,errors,cancelled,prompt_tokens,cached_tokens,completion_tokens,images,wait_s,compute_s\n\
             \"acme, \"\"inc\"\"\\u001b\",2026-11-01,9,1,2,30,4,500,6,7.5,80.25\n\
             b,2026-11-02,1,1,2,30,4,500,6,7.5,80.25\n"
        );
    }

    #[test]
    fn json_is_the_response() {
        let (text, _) = run(&["--json"], &answer());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), answer());
        let empty = json!({"from": "a", "to": "b", "group_by": [], "rows": [], "total": {}});
        let (text, _) = run(&[], &empty);
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in
            [["--from", "November"], ["--to", "2026-11-31"], ["--group-by", "owner,colour"]]
        {
            let error = Command::try_parse_from([&["usage"], &wrong[..]].concat());
            assert!(error.err().unwrap().to_string().contains(wrong[0]), "{wrong:?}");
        }
        assert!(Command::try_parse_from(["usage", "--csv", "--json"]).is_err());
    }
}
