//! Commands for managed keys: add, list, show, update, rotate, revoke.

mod fields;
mod show;
#[cfg(test)]
mod tests;

use std::io::Write;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use protocol::ApiKey;
use serde_json::{Map, Value, json};

use super::{Shown, confirm, json_text, print_json};
use crate::client::admin::{Admin, understood};
use crate::output::Output;
use crate::table::table;
use crate::text::printable;

use fields::{Rights, key_id};

/// The number of keys per request.
const PAGE: usize = 100;

/// Operations on managed keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Create a key; prints its text, which is shown only this once.
    Add(Box<Add>),
    /// List the keys, the oldest first.
    List(List),
    /// Show one key: its rights, its limits, and when it was last used.
    Show(One),
    /// Change a key's rights and limits, or block it. It holds within a second; tasks continue.
    Update(Box<Update>),
    /// Replace a key's text and print the new one. The old text is refused from then on.
    Rotate(Confirmed),
    /// Revoke a key for good. Its owner's tasks, results and files remain.
    Revoke(Confirmed),
}

/// The arguments of `keys add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// A name for people.
    name: String,
    /// Whose tasks, files and webhooks the key opens; keys of one owner share them [default: an owner of its own].
    #[arg(long)]
    owner: Option<String>,
    #[command(flatten)]
    rights: Rights,
    #[command(flatten)]
    shown: Shown,
}

/// The arguments of `keys list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this owner.
    #[arg(long)]
    owner: Option<String>,
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    shown: Shown,
}

/// One key.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The key's id, as printed by `qwen-queue keys list`.
    #[arg(value_parser = key_id)]
    id: String,
    #[command(flatten)]
    shown: Shown,
}

/// The arguments of `keys update`. Without an option, a field stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The key's id, as printed by `qwen-queue keys list`.
    #[arg(value_parser = key_id)]
    id: String,
    /// A new name.
    #[arg(long)]
    name: Option<String>,
    /// Refuse the key until it is unblocked.
    #[arg(long, conflicts_with = "unblock")]
    block: bool,
    /// Accept a blocked key again.
    #[arg(long)]
    unblock: bool,
    /// Allow all models.
    #[arg(long, conflicts_with = "models")]
    all_models: bool,
    /// Delete the metadata.
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,
    #[command(flatten)]
    rights: Rights,
    #[command(flatten)]
    shown: Shown,
}

/// A key, and whether to ask first.
#[derive(Debug, Args)]
pub(crate) struct Confirmed {
    /// The key's id, as printed by `qwen-queue keys list`.
    #[arg(value_parser = key_id)]
    id: String,
    /// Don't ask for confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Runs the command.
pub(crate) fn run<O: Write, N: Write>(keys: &Keys, output: &mut Output<O, N>) -> Result<()> {
    match keys {
        Keys::Add(args) => add(args, output),
        Keys::List(args) => list(args, output),
        Keys::Show(args) => {
            let answer = Admin::new(&args.shown.target)?.key(&args.id)?;
            args.shown.print(output, answer, |answer| Ok(show::page(&read(answer)?)))
        }
        Keys::Update(args) => update(args, output),
        Keys::Rotate(args) => rotate(args, output),
        Keys::Revoke(args) => revoke(args, output),
    }
}

fn read(answer: Value) -> Result<ApiKey> {
    Ok(understood("/admin/keys", answer)?)
}

fn add<O: Write, N: Write>(args: &Add, output: &mut Output<O, N>) -> Result<()> {
    let mut body = args.rights.fields();
    body.retain(|_, value| !value.is_null()); // no limit is the default
    body.insert("name".to_owned(), json!(args.name));
    body.extend(args.owner.iter().map(|owner| ("owner".to_owned(), json!(owner))));
    let answer = Admin::new(&args.shown.target)?.add_key(&Value::Object(body))?;
    print_text(&answer, "is created", &args.shown, output)
}

fn list<O: Write, N: Write>(args: &List, output: &mut Output<O, N>) -> Result<()> {
    let keys = keys(&Admin::new(&args.shown.target)?, args.owner.as_deref(), args.limit)?;
    if args.shown.json {
        return print_json(output, &json!({ "keys": keys }));
    }
    let rows: Result<Vec<_>> = keys.into_iter().map(|key| Ok(show::row(&read(key)?))).collect();
    let rows = rows?;
    if rows.is_empty() {
        return Ok(output.line("no managed keys: `qwen-queue keys add` creates one")?);
    }
    Ok(output.print(&table(&show::COLUMNS, &rows))?)
}

/// Fetches at most `limit` keys, the oldest first, page by page.
fn keys(admin: &Admin, owner: Option<&str>, limit: usize) -> Result<Vec<Value>> {
    let mut keys: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    while keys.len() < limit {
        let wanted = PAGE.min(limit - keys.len());
        let mut answer = admin.keys(owner, after.as_deref(), wanted)?;
        let Value::Array(page) = answer["keys"].take() else {
            bail!("the gateway's response to /admin/keys has no list of keys");
        };
        keys.extend(page);
        after = answer["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    Ok(keys)
}

fn update<O: Write, N: Write>(args: &Update, output: &mut Output<O, N>) -> Result<()> {
    let mut body = args.rights.fields();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(name) = &args.name {
        set("name", json!(name));
    }
    if args.block || args.unblock {
        set("blocked", json!(args.block));
    }
    if args.all_models {
        set("models", json!([]));
    }
    if args.no_metadata {
        set("metadata", Value::Object(Map::new()));
    }
    if body.is_empty() {
        bail!("nothing to change: pass what is to be changed, such as --block (see --help)");
    }
    let answer = Admin::new(&args.shown.target)?.change_key(&args.id, &Value::Object(body))?;
    args.shown.print(output, answer, |answer| Ok(show::page(&read(answer)?)))
}

fn rotate<O: Write, N: Write>(args: &Confirmed, output: &mut Output<O, N>) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    if !args.yes {
        let question = "Replace its text? Clients that use the old one are refused from then on.";
        confirm(&format!("{}: {question}", told(&admin, &args.id)?), output)?;
    }
    let answer = admin.rotate_key(&args.id)?;
    print_text(&answer, "has a new text, the old one is refused from now on", &args.shown, output)
}

fn revoke<O: Write, N: Write>(args: &Confirmed, output: &mut Output<O, N>) -> Result<()> {
    let admin = Admin::new(&args.shown.target)?;
    if !args.yes {
        confirm(&format!("{}: Revoke it for good?", told(&admin, &args.id)?), output)?;
    }
    let answer = admin.revoke_key(&args.id)?;
    args.shown.print(output, answer, |_| Ok(format!("{} is revoked\n", args.id)))
}

/// Names a key so that an operator recognizes it.
fn told(admin: &Admin, id: &str) -> Result<String> {
    let key = read(admin.key(id)?)?;
    let owner = printable(key.owner.as_str());
    Ok(format!("{id} '{}' ({}…) of {owner}", printable(&key.name), printable(&key.prefix)))
}

/// Prints the text of a key alone on standard output, so that a script can take it, and the rest to standard error. The
/// text is shown only once, so it must not be lost.
fn print_text<O: Write, N: Write>(
    answer: &Value,
    what: &str,
    shown: &Shown,
    output: &mut Output<O, N>,
) -> Result<()> {
    if shown.json {
        return Ok(output.print_or_note(&json_text(answer)?)?);
    }
    let Some(text) = answer["key"].as_str() else {
        bail!("the gateway's response has no key");
    };
    let field = |name: &str| printable(answer[name].as_str().unwrap_or("?"));
    output.note(&format!(
        "{} '{}' of {} {what}.\nStore its text now: it is shown only this once, and nobody can read it again.",
        field("id"),
        field("name"),
        field("owner"),
    ));
    Ok(output.print_or_note(&format!("{}\n", printable(text)))?)
}
